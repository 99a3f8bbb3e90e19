#!/usr/bin/env bash
# Keras 3.15.1 on torch 2.13.0 (CPU), Python 3.11.
#
# keras.activations.sparsemax of rows with two or more elements in the support returns rows that do
# not add up to 1: its threshold is computed from the sum of all cumulative sums in the support, where
# the definition (Martins and Astudillo, 2016, algorithm 1) takes the last of them. Where the elements
# differ by little the row is zeros throughout.
#
# Seen, and in brackets the values of the definition:
#   [1.0, 0.8, 0.6, 0.1]  [0.0, 0.0, 0.0, 0.0]        ([0.5333, 0.3333, 0.1333, 0])
#   [2.0, 0.5, 0.1]       [1.0, 0.0, 0.0]             (the same: one element in the support)
#   [-0.2, -0.5, -3.0]    [0.75, 0.45, 0.0]           ([0.65, 0.35, 0])
#
# The script fails if that changes. It needs pip and some 2 GB in a temporary folder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1
cat > "$folder/run.py" <<'PYTHON'
import keras

for row in ([1.0, 0.8, 0.6, 0.1], [2.0, 0.5, 0.1], [-0.2, -0.5, -3.0]):
    found = keras.activations.sparsemax(keras.ops.convert_to_tensor([row]))[0]
    print(row, [round(float(value), 4) for value in found])
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
diff - "$folder/seen" <<'SEEN'
[1.0, 0.8, 0.6, 0.1] [0.0, 0.0, 0.0, 0.0]
[2.0, 0.5, 0.1] [1.0, 0.0, 0.0]
[-0.2, -0.5, -3.0] [0.75, 0.45, 0.0]
SEEN

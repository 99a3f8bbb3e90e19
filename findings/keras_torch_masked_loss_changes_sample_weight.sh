#!/usr/bin/env bash
# Keras 3.15.1 on torch 2.13.0 (CPU), Python 3.11.
#
# A loss that is given a masked prediction and sample_weight multiplies the caller's weights by the
# mask in place, and by total steps / unmasked steps. So the same call gives another value the
# second time, and a metric that is given the same tensor afterwards sees the changed weights. Only
# float32 tensors are changed; weights in a NumPy array are copied first.
#
# Seen: with weights of 1 on 4 steps, of which 3 count, each with an absolute error of 1:
#   tensor 1.0 1.3333 weights [[1.7778, 0.0], [1.7778, 1.7778]]
#   array  1.0 1.0 weights [[1.0, 1.0], [1.0, 1.0]]
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
import numpy as np
import torch

# The second step of the first sample is masked: all its features are 0.
x = np.array([[[1.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]], "float32")
prediction = keras.layers.Masking()(x)
target = np.zeros_like(x)
loss = keras.losses.MeanAbsoluteError()
for kind, weights in (
    ("tensor", torch.ones(2, 2)),
    ("array ", np.ones((2, 2), "float32")),
):
    values = [round(float(loss(target, prediction, sample_weight=weights)), 4) for _ in range(2)]
    left = [[round(float(weight), 4) for weight in row] for row in weights]
    print(kind, *values, "weights", left)
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
diff - "$folder/seen" <<'SEEN'
tensor 1.0 1.3333 weights [[1.7778, 0.0], [1.7778, 1.7778]]
array  1.0 1.0 weights [[1.0, 1.0], [1.0, 1.0]]
SEEN

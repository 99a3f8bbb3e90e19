#!/usr/bin/env bash
# Keras 3.15.1 on torch 2.13.0 (CPU), Python 3.11.
#
# A recurrent layer skips the steps that an Embedding with mask_zero=True has masked: its output is
# that of the sequence without them. As soon as it is called with initial_state=, here of zeros, which
# it would start from anyway, it no longer does, in a functional model neither: a decoder that starts
# from an encoder's state reads the padding. With mask= in the same call it skips the steps again.
#
# Seen for the words [1, 2, 0, 0], of which 0 is padding:
#   without a state             as without padding
#   with a state                other
#   with a state, in a model    other
#   with a state and mask=      as without padding
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

keras.utils.set_random_seed(0)
embedding = keras.layers.Embedding(3, 2, mask_zero=True)
layer = keras.layers.SimpleRNN(2)
padded, state = np.array([[1, 2, 0, 0]]), np.zeros((1, 2), "float32")
expected = keras.ops.convert_to_numpy(layer(embedding(padded[:, :2])))
words, first = keras.layers.Input((4,)), keras.layers.Input((2,))
model = keras.Model([words, first], layer(embedding(words), initial_state=first))
for name, found in {
    "without a state": layer(embedding(padded)),
    "with a state": layer(embedding(padded), initial_state=state),
    "with a state, in a model": model([padded, state]),
    "with a state and mask=": layer(embedding(padded), initial_state=state, mask=padded != 0),
}.items():
    same = np.allclose(keras.ops.convert_to_numpy(found), expected)
    print(f"{name}: {'as without padding' if same else 'other'}")
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
diff - "$folder/seen" <<'SEEN'
without a state: as without padding
with a state: other
with a state, in a model: other
with a state and mask=: as without padding
SEEN

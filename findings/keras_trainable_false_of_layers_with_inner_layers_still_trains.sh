#!/usr/bin/env bash
# Keras 3.15.1 on torch 2.13.0 (CPU), Python 3.11.
#
# A layer made with trainable=False has no trainable variables. A model that contains it still trains
# them where the layer is made of others (TimeDistributed, Bidirectional, MultiHeadAttention): the
# model collects them from the inner layers, which were not told. Of Dense and LSTM it trains none.
# layer.trainable = False afterwards is passed on, and then the model trains none either.
#
# Seen, trainable variables of the layer, of the model, and of the model after layer.trainable = False:
#   Dense                0 0 0
#   LSTM                 0 0 0
#   TimeDistributed      0 2 0
#   Bidirectional        0 6 0
#   MultiHeadAttention   0 8 0
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
from keras import layers

for layer in (
    layers.Dense(2, trainable=False),
    layers.LSTM(2, trainable=False),
    layers.TimeDistributed(layers.Dense(2), trainable=False),
    layers.Bidirectional(layers.LSTM(2), trainable=False),
    layers.MultiHeadAttention(1, 2, trainable=False),
):
    x = layers.Input((4, 2))
    several = isinstance(layer, layers.MultiHeadAttention)
    model = keras.Model(x, layer(x, x) if several else layer(x))
    counts = [len(layer.trainable_variables), len(model.trainable_variables)]
    layer.trainable = False
    print(type(layer).__name__, *counts, len(model.trainable_variables))
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
diff - "$folder/seen" <<'SEEN'
Dense 0 0 0
LSTM 0 0 0
TimeDistributed 0 2 0
Bidirectional 0 6 0
MultiHeadAttention 0 8 0
SEEN

#!/usr/bin/env bash
# Keras 3.15.1 on torch 2.13.0 (CPU), Python 3.11.
#
# Tversky: alpha is documented to weigh false positives, beta false negatives, as in the paper
# (Salehi, 2017). The code has them the other way round: where everything is predicted, and half of
# it is there, alpha=1, beta=0 gives a loss of 0.
#
# metrics.SparseCategoricalCrossentropy(ignore_class=...): samples of that class count as a loss of
# 0 in the mean, unless sample_weight is given; then they do not count.
#
# metrics.MeanIoU(axis=1), for predictions with the classes on that axis, has no result: the scores
# of the classes, which have one axis, are added up over axis 1.
#
# Seen:
#   tversky 1.0 0.0 0.0
#   tversky 0.0 1.0 0.5
#   ignore_class no weights 0.3466
#   ignore_class weights 1 0.6931
#   axis IndexError
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

y, p = np.array([[1, 1, 0, 0]], "float32"), np.ones((1, 4), "float32")
for alpha, beta in ((1.0, 0.0), (0.0, 1.0)):
    print("tversky", alpha, beta, round(float(keras.losses.Tversky(alpha, beta)(y, p)), 4))

labels, probabilities = np.array([0, 1]), np.full((2, 2), 0.5, "float32")
for name, weights in (("no weights", None), ("weights 1", np.ones(2, "float32"))):
    metric = keras.metrics.SparseCategoricalCrossentropy(ignore_class=1)
    metric.update_state(labels, probabilities, sample_weight=weights)
    print("ignore_class", name, round(float(metric.result()), 4))

metric = keras.metrics.MeanIoU(2, sparse_y_pred=False, axis=1)
metric.update_state(np.zeros((1, 3), int), np.ones((1, 2, 3), "float32"))
try:
    print("axis", float(metric.result()))
except Exception as error:
    print("axis", type(error).__name__)
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
diff - "$folder/seen" <<'SEEN'
tversky 1.0 0.0 0.0
tversky 0.0 1.0 0.5
ignore_class no weights 0.3466
ignore_class weights 1 0.6931
axis IndexError
SEEN

"""Run by test_edge.py in a process of its own: what quantization-aware training and XNNPACK make of a network.

Prints JSON: {name: {"qat": [names of the layers in the quantised model], "bytes": size of the int8 TFLite model,
"ops": [[operation, outputs], …] of the interpreter, delegates included}}.
"""

import json
import sys

import numpy as np

from edgefer import cartoon
from edgefer.quiet import native_chatter_silenced

with native_chatter_silenced():
    import keras
    import tensorflow_model_optimization as tfmot
    import tf_keras
    from ai_edge_litert.interpreter import Interpreter

    from edgefer.optimize.exporters import tflite
    from edgefer.train import architectures

    found = {}
    faces = cartoon.dataset(8, seed=0)[0][..., None]
    for name in sys.argv[1:]:
        quantised = tfmot.quantization.keras.quantize_model(architectures.build(tf_keras, name, 7))
        quantised.compile("sgd", "mse")
        quantised.train_on_batch(faces[:4] / np.float32(255), np.zeros((4, 7), np.float32))
        model = tflite.quantised(architectures.build(keras, name, 7), faces, takes_pixels=True)
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
        details = interpreter._get_ops_details()
        found[name] = {
            "qat": [layer.name for layer in quantised.layers],
            "bytes": len(model),
            "ops": [[op["op_name"], [int(i) for i in op["outputs"]]] for op in details],
        }
json.dump(found, sys.stdout)

"""The documents' support vector machine on raw pixels: no network, so there is nothing to build here.

`edgefer.train.svm` trains it. What it weighs and computes depends on the data: it keeps nearly every training picture
as a support vector, and compares each face with all of them.
"""

from __future__ import annotations

from edgefer.train.architectures import Facts

VARIANTS = {
    "svm-rbf": Facts(
        summary="SVM with RBF kernel on 2,304 pixels; its size depends on the data (2,304 bytes a support vector)",
        parameters=0,
        trainable=0,
        macs=0,
        document="SVM of the SVM / MLP / CNN / VGG19 comparison",
        document_score=0.43,
        document_split="test",
        trainer="sklearn",
    )
}

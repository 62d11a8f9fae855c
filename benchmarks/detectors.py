"""What each face detector finds and costs: labelled pictures, and clips frame by frame, as a record.

    python benchmarks/detectors.py --pictures FOLDER --model yunet.onnx CLIP.mp4 ... [--json RECORD.json]

It is `edgefer evaluate --task detect` with edgefer's own detector and YuNet at 160, 320 and 640 pixels and the Haar
cascade at 320 and 640, on the validation scenes of FOLDER; edgefer's own comes first, and the others are held against
it in the same run. `demo:N` is a clip, too. `edgefer report RECORD.json` makes a page of it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from edgefer import files
from edgefer.bench import detection_run, detection_text
from edgefer.bench.detection_finders import Wanted
from edgefer.bundle import open_detector_bundle
from edgefer.commands._shared import bar
from edgefer.devices.profile import choose_profile
from edgefer.train import scenes

SIZES = (160, 320, 640)
CASCADE_SIZES = (320, 640)
"""Half and whole: at 160 pixels it finds close-ups alone."""


def main() -> None:
    """Measure, print the tables, and write the record when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*")
    parser.add_argument("--pictures", type=Path, required=True, help="scenes in any form that edgefer train reads")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--bundle", type=Path, help="of edgefer's own detector [default: the one that ships]")
    parser.add_argument("--model", type=Path, help="a YuNet model [default: what edgefer models pull fetched]")
    parser.add_argument(
        "--rounds", type=int, default=detection_run.ROUNDS, help="in which the detectors take turns to be timed"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    wanted = Wanted(
        (("edge", SIZES), ("haar", CASCADE_SIZES), ("yunet", SIZES)),
        open_detector_bundle(arguments.bundle),
        yunet=arguments.model,
    )
    with bar("Reading labels") as progress:
        chosen = scenes.pick(scenes.read(arguments.pictures, progress), arguments.split)
    record = detection_run.take(
        wanted,
        chosen,
        arguments.clips,
        choose_profile(None, False).profile,
        shlex.join(["python", *sys.argv]),
        bar,
        arguments.rounds,
    )
    print(detection_text.as_text(record))
    if arguments.json:
        files.write_text(arguments.json, json.dumps(record.as_dict(), indent=1) + "\n")


if __name__ == "__main__":
    main()

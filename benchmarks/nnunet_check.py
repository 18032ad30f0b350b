"""Does an imported nnU-Net answer as nnU-Net itself does?

nnU-Net needs an environment of its own (its network library brings torchvision), so the question is asked in two steps:

    python benchmarks/nnunet_check.py train --data DIR --work WORK      # where nnunetv2 is installed
    python benchmarks/nnunet_check.py compare --work WORK               # where napari-pgrd is installed

The first trains small networks for about a minute in all and keeps nnU-Net's own input, logits and prediction of two
cases. The second imports each network as a user would and compares. The data are the hippocampi of the Medical
Segmentation Decathlon, stored with other axes and voxels of another size in some of the trainings, so that the order
of the axes and resampling are met too. WORK is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

CASES, HELD_OUT = 8, 2
STORED = {  # data sets by number: name, and the factors by which their voxels are called larger along x, y and z
    904: ("Dataset904_Hippocampus", (1.0, 1.0, 1.0)),
    905: ("Dataset905_Slices", (3.5, 1.0, 1.0)),
}
RESULT = Path(__file__).parent / "results" / "nnunet_check.json"
TOLERANCE = 1e-3
ASIDE = "1.6 mm"  # a case whose voxels are of another size than those trained on

PLAIN, RESIDUAL = "ExperimentPlanner", "nnUNetPlannerResEncM"
TRAININGS: dict[str, dict[str, Any]] = {
    "2d, thick slices": {"data": 905, "configuration": "2d", "planner": PLAIN},
    "3d_fullres": {"data": 904, "configuration": "3d_fullres", "planner": PLAIN},
    "3d_fullres, thick slices": {"data": 905, "configuration": "3d_fullres", "planner": PLAIN},
    "3d_fullres, residual encoder": {"data": 904, "configuration": "3d_fullres", "planner": RESIDUAL},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    stages = parser.add_subparsers(dest="stage", required=True)
    train = stages.add_parser("train")
    train.add_argument("--data", type=Path, required=True, help="Folder with images/ and labels/.")
    train.add_argument("--iterations", type=int, default=25)
    compare = stages.add_parser("compare")
    for stage in (train, compare):
        stage.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    if given.stage == "train":
        run_nnunet(given.data, given.work, given.iterations)
    else:
        measure(given.work)


def run_nnunet(data: Path, work: Path, iterations: int) -> None:
    """Train with nnU-Net and keep what it says of the held-out cases."""
    folders = {name: work / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for name, folder in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(folder)
    os.environ |= {"nnUNet_compile": "f", "nnUNet_def_n_proc": "1"}

    import nnunetv2
    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprint_dataset,
        plan_experiment_dataset,
        preprocess_dataset,
    )
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    held_out = {}
    for number, (name, factors) in STORED.items():
        held_out[number] = write_raw(data, folders["nnUNet_raw"] / name, work / "held_out" / str(number), factors)
        extract_fingerprint_dataset(number, num_processes=1, clean=True)
    for name, how in TRAININGS.items():
        number, configuration = how["data"], how["configuration"]
        folder = folders["nnUNet_preprocessed"] / STORED[number][0]
        planner = recursive_find_python_class(
            os.path.join(nnunetv2.__path__[0], "experiment_planning"), how["planner"], "nnunetv2.experiment_planning"
        )
        os.environ |= {"nnUNet_n_proc_DA": "1"}
        _, identifier = plan_experiment_dataset(number, planner)
        made_small(folder / f"{identifier}.json", configuration)
        preprocess_dataset(number, identifier, configurations=(configuration,), num_processes=(1,))
        plans, dataset = (json.loads((folder / f"{x}.json").read_text()) for x in (identifier, "dataset"))
        os.environ |= {"nnUNet_n_proc_DA": "0"}
        torch.manual_seed(0)
        np.random.seed(0)
        plans["continue_training"] = False
        trainer = nnUNetTrainer(plans, configuration, 0, dataset, device=torch.device("cpu"))
        trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 1, iterations, 1
        began = time.perf_counter()
        trainer.run_training()
        seconds = time.perf_counter() - began
        trainer.perform_actual_validation(False)
        ask(Path(trainer.output_folder_base), held_out[number], work / "asked" / name)
        facts = {
            **how,
            "iterations": iterations,
            "seconds": round(seconds, 1),
            "folder": os.path.relpath(trainer.output_folder_base, work),
        }
        (work / "asked" / name / "facts.json").write_text(json.dumps(facts))


def write_raw(data: Path, raw: Path, held_out: Path, factors: tuple[float, ...]) -> list[Path]:
    """The first cases as nnU-Net wants them, and held-out ones; one of those also with larger voxels."""
    shutil.rmtree(raw, ignore_errors=True)
    for folder in (raw / "imagesTr", raw / "labelsTr", held_out):
        folder.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in (data / "images").glob("*.nii.gz"))[: CASES + HELD_OUT]
    larger = np.diag([*factors, 1.0])
    for number, name in enumerate(names):
        image, label = (nib.load(data / kind / name) for kind in ("images", "labels"))
        voxels, stem = np.asarray(image.dataobj), name.removesuffix(".nii.gz")
        if number >= CASES:
            nib.save(nib.Nifti1Image(voxels, image.affine @ larger), held_out / f"{stem}_0000.nii.gz")
            continue
        nib.save(nib.Nifti1Image(voxels, image.affine @ larger), raw / "imagesTr" / f"{stem}_0000.nii.gz")
        mask = np.asarray(label.dataobj).astype(np.uint8)
        nib.save(nib.Nifti1Image(mask, label.affine @ larger), raw / "labelsTr" / name)
    coarse = image.affine @ np.diag([1.25, 1.25, 1.6, 1]) @ larger
    nib.save(nib.Nifti1Image(voxels, coarse), held_out / f"{ASIDE}_0000.nii.gz")
    content = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "anterior": 1, "posterior": 2},
        "numTraining": CASES,
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(content))
    return sorted(held_out.iterdir())


def made_small(plans: Path, configuration: str) -> None:
    """A quarter of the features and of the batch: the shape stays nnU-Net's, and a minute is enough."""
    content = json.loads(plans.read_text())
    mine = content["configurations"][configuration]
    kwargs = mine["architecture"]["arch_kwargs"]
    kwargs["features_per_stage"] = [max(8, n // 4) for n in kwargs["features_per_stage"]]
    mine["batch_size"] = 8 if configuration == "2d" else 2
    plans.write_text(json.dumps(content))


def ask(folder: Path, images: list[Path], out: Path) -> None:
    """nnU-Net's input, its network's logits on it, and its whole prediction, for each image."""
    import torch
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    out.mkdir(parents=True, exist_ok=True)
    # With a Gaussian over each window, as nnU-Net does it, and without: it multiplies and divides in half precision,
    # which at a window's corners moves probabilities by several hundredths, and a single window needs no weights.
    common = {"use_mirroring": False, "perform_everything_on_device": False, "device": torch.device("cpu")}
    plain, predictor = (nnUNetPredictor(use_gaussian=use, **common) for use in (False, True))
    for one in (plain, predictor):
        one.initialize_from_trained_model_folder(str(folder), use_folds=(0,))
        one.network.eval()
    preprocess = predictor.configuration_manager.preprocessor_class(verbose=False)
    for path in images:
        prepared, _, _ = preprocess.run_case(
            [str(path)], None, predictor.plans_manager, predictor.configuration_manager, predictor.dataset_json
        )
        image, properties = SimpleITKIO().read_images([str(path)])
        answers = (one.predict_single_npy_array(image, properties, None, None, True)[1] for one in (plain, predictor))
        probability, weighted = answers
        fed = padded(np.asarray(prepared), predictor.configuration_manager.patch_size)
        with torch.no_grad():
            x = torch.from_numpy(fed).float()
            flat = len(predictor.configuration_manager.patch_size) == 2
            logits = predictor.network(x.movedim(1, 0) if flat else x[None])
            logits = logits.movedim(0, 1) if flat else logits[0]
        kept = {"prepared": np.asarray(prepared), "fed": fed, "logits": logits.numpy()}
        kept |= {"probability": probability, "weighted": weighted}
        np.savez_compressed(out / path.name.replace("_0000.nii.gz", ".npz"), **kept)


def padded(x: np.ndarray, patch: list[int]) -> np.ndarray:
    """Up to the patch with zeros around, and on to a multiple of 32: one window holds all of it."""
    widths = [(0, 0)] * (x.ndim - len(patch))
    for n, p in zip(x.shape[-len(patch) :], patch, strict=True):
        size = p if n <= p else -(-n // 32) * 32
        widths.append(((size - n) // 2, size - n - (size - n) // 2))
    return np.pad(x, widths).astype(np.float32)


def measure(work: Path) -> None:
    """Import every network and compare."""
    rows = {name: compare(work, name) for name in TRAININGS}
    cases = [case for row in rows.values() for case in row["cases"].values()]
    volumes = [case for row in rows.values() if row["configuration"] != "2d" for case in row["cases"].values()]
    slices = [case for case in cases if case not in volumes and case["one_window"] and not case["resampled"]]
    same = [case["prediction"]["largest"] for case in (*volumes, *slices)]
    weighted = [case["prediction_weighted"] for case in volumes]
    result = {
        "question": "does an imported nnU-Net answer as nnU-Net itself does: largest differences",
        "largest": {
            "input": max(case["input"] for case in cases),
            "softmax_of_the_network": max(case["softmax_of_the_network"] for case in cases),
            "softmax_of_the_prediction": max(same),
        },
        "through_half_precision_weights": {
            k: max(case[k] for case in weighted) for k in ("largest", "mean", "other_label")
        },
        "tolerance": TOLERANCE,
        "note": "The prediction is held to the tolerance in 3D, through windows and resampled too, and in 2D where "
        "nnU-Net needs one window and resamples nothing: slices are seen whole here. Windows count alike in it, on "
        "both sides. prediction_weighted is with the Gaussian over each window, which nnU-Net multiplies and divides "
        "in half precision: what it is off by near the corners is in through_half_precision_weights.",
        "trainings": rows,
        "versions": versions(),
        "commands": [
            "python benchmarks/nnunet_check.py train --data DIR --work WORK",
            "python benchmarks/nnunet_check.py compare --work WORK",
        ],
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["largest"], indent=1))
    if max(result["largest"].values()) > TOLERANCE:
        raise SystemExit(f"more than {TOLERANCE}: the import is wrong")


def differences(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    away = np.abs(ours - theirs)
    other = (ours.argmax(0) != theirs.argmax(0)).mean()
    return {"largest": float(away.max()), "mean": float(away.mean()), "other_label": float(other)}


def versions() -> dict[str, str]:
    from napari_pgrd.io.provenance import versions as known

    return known()


@contextmanager
def patched_weights() -> Iterator[None]:
    """Windows that all count alike, as nnU-Net does when it is told to; its Gaussian is in half precision."""
    import torch

    from napari_pgrd.engine import windows

    kept, windows.bell = windows.bell, torch.ones
    try:
        yield
    finally:
        windows.bell = kept


def compare(work: Path, name: str) -> dict[str, Any]:
    """One training: its bundle's input, network and prediction beside nnU-Net's."""
    import torch
    from scipy.special import softmax

    from napari_pgrd.engine.predict import Runner
    from napari_pgrd.engine.preprocess import prepare
    from napari_pgrd.evaluate.evaluate import prior_map
    from napari_pgrd.io.nifti import read_volume
    from napari_pgrd.train.nnunet import import_nnunet

    asked = work / "asked" / name
    facts = json.loads((asked / "facts.json").read_text())
    bundle = import_nnunet(work / facts.pop("folder"), work / "bundles" / name.replace(" ", "-").replace(",", ""))
    runner, flat = Runner(bundle, torch.device("cpu")), bundle.spec.prepare.dims == 2
    network = getattr(runner.prior_net, "net", runner.prior_net)
    out: dict[str, Any] = {}
    for path in sorted(asked.glob("*.npz")):
        theirs = np.load(path)
        volume = read_volume(work / "held_out" / str(facts["data"]) / f"{path.stem}_0000.nii.gz")
        image, restore = prepare(volume, bundle.spec.prepare)
        i, j, k = (slice(lo, lo + n) for (lo, _), n in zip(restore.padding, restore.resampled, strict=True))
        mine = image[0][:, i, j, k].numpy()
        mine = np.moveaxis(mine, -1, 1) if flat else mine
        fed = torch.from_numpy(theirs["fed"])
        with torch.no_grad():
            logits = network(fed.movedim(1, 0)).movedim(0, 1) if flat else network(fed[None])[0]
        known, ours = softmax(theirs["logits"], 0), softmax(logits.numpy(), 0)
        whole = prior_map(volume, runner, 1.0)
        with patched_weights():
            even = prior_map(volume, runner, 1.0)
        plain, weighted = (np.transpose(theirs[key], (0, 3, 2, 1)) for key in ("probability", "weighted"))
        patch = bundle.spec.prepare.patch[: 2 if flat else 3]
        out[path.stem] = {
            "input": float(np.abs(mine - theirs["prepared"]).max()),
            "softmax_of_the_network": float(np.abs(ours - known).max()),
            "one_window": all(n <= p for n, p in zip(restore.resampled, patch, strict=False)),
            "resampled": restore.resampled != restore.original,
            "prediction": differences(even, plain),
            "prediction_weighted": differences(whole, weighted),
            "certainty": float(known.max(0).mean()),
        }
    return {**facts, "cases": out}


if __name__ == "__main__":
    main()

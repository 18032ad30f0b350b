"""The model card: what a bundle is for, what made it, and how good it measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from napari_pgrd.engine.bundle import Bundle, save
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.methods import ALONE, METHODS
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.evaluate.evaluate import fitted
from napari_pgrd.evaluate.plots import diagram
from napari_pgrd.evaluate.reliability import Reliability as Counted
from napari_pgrd.io.nifti import write_atomically
from napari_pgrd.io.provenance import RESEARCH_USE

RATED = {
    "ged2": "GED²",
    "hm_iou": "HM-IoU",
    "diversity": "diversity of samples",
    "rater_diversity": "diversity of readers",
}
NUMBERS = {
    "nll": "NLL, nats",
    "brier": "Brier score",
    "ece": "ECE, whole volume",
    "ece_roi": "ECE, region of interest",
    "adaptive_ece": "adaptive ECE, whole volume",
    "adaptive_ece_roi": "adaptive ECE, region of interest",
    "hd95": "HD95",
    "nsd": "NSD",
    "auroc_entropy_error": "AUROC of entropy against error",
    "spearman_entropy_error": "Spearman of entropy against error",
    "ause": "AUSE",
    "aurg": "AURG",
    "sample_dice": "Dice of single samples",
    "pairwise_dice": "Dice between samples",
    "unanimous_error_share": "errors where all samples agree",
    "seconds_per_case": "seconds per case",
}
PICTURE = "reliability.png"  # beside the card
LEAST = 100  # voxels: a bin with fewer is not listed, as it is not drawn
TITLES = {**{name: row.title for name, row in METHODS.items()}, "prior_scaled": "prior, scaled", "prior": "prior"}


def card(bundle: Bundle, evaluation: Mapping[str, Any]) -> Bundle:
    """Write what an evaluation measured into ``bundle.json`` and ``MODEL_CARD.md``, with a picture of its reliability.

    The weights stay as they are, so any bundle can be given a new evaluation.

    Raises
    ------
    InputError
        If the evaluation is of other weights or of another tau or temperature than the bundle holds.
    """
    spec = bundle.spec
    made = fitted(spec)
    try:
        measured, own = {key: evaluation["bundle"][key] for key in made}, evaluation["methods"].get(spec.method)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError("The evaluation file is not one that 'pgrd evaluate' wrote. Run it again.") from error
    require(
        measured == made,
        InputError,
        f"The evaluation is not of this bundle: weights or what was fitted to them differ from {spec.name}'s. "
        "Evaluate it again.",
    )
    require(
        own is not None,
        InputError,
        f"The evaluation is of {', '.join(evaluation['methods'])}, but {spec.name} uses {spec.method}. Evaluate it "
        "without --method.",
    )
    n = evaluation["cases"]
    reliability = {
        "cases": n,
        "steps": evaluation["request"]["steps"],
        "samples": evaluation["request"]["samples"],
        "volume_coverage": {name: round(share * n) for name, share in own["volume_coverage"].items()},
        "interval_coverage": {name: round(share * n) for name, share in (own.get("interval_coverage") or {}).items()},
        "unanimous_error_share": round(own["unanimous_error_share"] or 0.0, 4),
        "dice": round(own["dice"]["mean"], 4),
        "raters": evaluation.get("raters", 1),
        "among": {key: round(own[key], 4) for key in RATED if several(evaluation) and own.get(key) is not None},
        "diagram": _counts(evaluation, own),
    }
    updated = save(bundle.folder, {**spec.model_dump(mode="json"), "reliability": reliability})
    text = write_card(updated.spec, evaluation)
    if (curves := counted(updated.spec)) is not None:
        diagram(curves, f"{spec.name}: voxels near truth or prediction", bundle.folder / PICTURE)
    else:
        (bundle.folder / PICTURE).unlink(missing_ok=True)
    write_atomically(bundle.folder / "MODEL_CARD.md", lambda path: path.write_text(text, encoding="utf-8"))
    return updated


def several(evaluation: Mapping[str, Any]) -> bool:
    """Whether cases had several readers."""
    return any(m.get("rater_diversity") is not None for m in evaluation["methods"].values())


def counted(spec: BundleSpec) -> dict[str, Counted] | None:
    """The bins that the bundle keeps, by the method's title; None if it keeps none."""
    kept = spec.reliability.diagram if spec.reliability is not None else None
    if kept is None:
        return None
    bins = {TITLES[spec.method]: kept.own, TITLES["prior_scaled"]: kept.prior}
    return {title: Counted.read(found.model_dump()) for title, found in bins.items()}


def _counts(evaluation: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any] | None:
    """Bins for ``bundle.json``; None where the evaluation is of a version that counted none."""
    found = {"own": own, "prior": evaluation["methods"].get("prior_scaled", {})}
    if not all("reliability_roi" in m for m in found.values()):
        return None
    bins = {}
    for name, m in found.items():
        sums = m["reliability_roi"]
        bins[name] = {
            "count": [round(v) for v in sums["count"]],
            "confidence": [round(v, 2) for v in sums["confidence"]],
            "right": [round(v) for v in sums["right"]],
        }
    return {**bins, "command": evaluation.get("command", "")}


def write_card(spec: BundleSpec, evaluation: Mapping[str, Any]) -> str:
    """``MODEL_CARD.md`` as text."""
    p, r, asked = spec.provenance, spec.reliability, evaluation["request"]
    assert r is not None
    covered, held = (
        "; ".join(f"{name} in {k} of {r.cases}" for name, k in counts.items())
        for counts in (r.volume_coverage, r.interval_coverage)
    )
    sections = [
        f"# {spec.name}: {spec.title}",
        f"**{RESEARCH_USE}.** The samples show where this model wavers; they are no substitute for a reader.",
        "## Intended use",
        f"{spec.scope.sentence} Modality: {spec.modality}. Channels: {', '.join(spec.channels)}. "
        f"Labels: {', '.join(f'{label.value} {label.name}' for label in spec.labels)}.",
        "## Limits",
        f"- Where all samples agree they can all be wrong: {r.unanimous_error_share:.1%} of the consensus' wrong "
        "voxels on validation lay where every sample agreed.\n"
        f"- The samples' 5-95 % range of volumes held the true volume for {covered} validation cases.\n"
        + (f"- The interval fitted on the calibration cases held it for {held} of them.\n" if held else "")
        + (f"- {beaten}\n" if (beaten := _beaten(evaluation, spec.method)) else "")
        + "- Nothing is known of its behaviour on other scanners, ages, diseases or fields of view than its data's.",
        "## Data and licence",
        _list(p.get("data", {})),
        f"Cases: {', '.join(f'{v} {k}' for k, v in p.get('cases', {}).items())}. Temperature, tau and weight were "
        "fitted on the calibration cases alone; the numbers below come from the validation cases alone.",
        "## Training",
        _training(spec),
        "## Measured",
        f"{evaluation['cases']} validation cases{_readers(r.raters)}, {asked['samples']} samples{_steps(asked)}, "
        f"seed {asked['seed']}, {evaluation['device']} in {evaluation['precision']}.",
        _table(evaluation),
        *_reliability(spec),
        "## Definitions",
        "\n".join(f"- {key}: {text}" for key, text in evaluation["definitions"].items()),
        "## Commands",
        "```\n" + "\n".join([*p.get("commands", []), evaluation.get("command", "pgrd evaluate")]) + "\n```",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _beaten(evaluation: Mapping[str, Any], method: str) -> str:
    """Where the method is worse than its own prior at its fitted temperature, the opponent that costs nothing."""
    mine, prior = evaluation["methods"][method], evaluation["methods"].get("prior_scaled")
    if prior is None or method == ALONE:
        return ""
    worse = []
    for title, key, sign in (("Dice", "dice", -1), ("NLL", "nll", 1), ("ECE", "ece", 1), ("ECE near it", "ece_roi", 1)):
        own, other = (m["dice"]["mean"] if key == "dice" else m[key] for m in (mine, prior))
        if sign * (own - other) > 0:
            worse.append(f"{title} {own:.4f} against {other:.4f}")
    if not worse:
        return ""
    return f"It is not in everything better than its own prior at the fitted temperature: {', '.join(worse)}."


def _steps(asked: Mapping[str, Any]) -> str:
    return f" of {asked['steps']} {asked['solver']} steps" if "solver" in asked else ""


def _readers(raters: int) -> str:
    return f" with {raters} readers each" if raters > 1 else ""


def _reliability(spec: BundleSpec) -> list[str]:
    """The diagram, what it shows and its numbers."""
    r, curves = spec.reliability, counted(spec)
    if r is None or r.diagram is None or curves is None:
        return []
    (mine, own), (theirs, prior) = curves.items()
    pooled = f" and all {r.raters} readers" if r.raters > 1 else ""
    text = (
        f"Every voxel near truth or prediction of the {r.cases} validation cases{pooled}, {own.count.sum():.0f} "
        "answers together: how often the most probable label was right, against the probability that it was given. On "
        "the dotted line the two agree; below it the model is surer than right. Error of all these voxels together "
        f"{own.ece:.4f} ({theirs}: {prior.ece:.4f}). Counted by the last of the commands below; the counts are in "
        "bundle.json."
    )
    head = ["confidence", f"voxels, {mine}", "mean confidence", "share right", f"share right, {theirs}"]
    rows = [head, ["---"] * len(head)]
    for i, (low, high) in enumerate(zip(own.edges[:-1], own.edges[1:], strict=True)):
        if own.count[i] >= LEAST:
            other = f"{prior.accuracy[i]:.3f}" if prior.count[i] >= LEAST else ""
            cells = (f"{own.count[i]:.0f}", f"{own.mean_confidence[i]:.3f}", f"{own.accuracy[i]:.3f}", other)
            rows.append([f"{low:.2f} to {high:.2f}", *cells])
    return ["## Reliability", f"![Reliability diagram of {spec.name}]({PICTURE})", text, _markdown(rows)]


def _training(spec: BundleSpec) -> str:
    p = spec.provenance
    lines = []
    for stage, t in p.get("training", {}).items():
        runs = "; then ".join(
            f"{run['steps']} steps of batch {run['optimisation']['batch']} in {run['seconds'] / 60:.0f} minutes on "
            f"{run['device']} ({run['precision']}), seed {run['optimisation']['seed']}, PyTorch {run['torch']}"
            for run in [*t.get("before", []), t]
        )
        lines.append(f"- {stage}: {t['parameters'] / 1e6:.2f} M parameters, {runs}")
        if folds := t.get("out_of_fold"):
            minutes = sum(fold["seconds"] for fold in folds) / 60
            lines.append(
                f"- in the last of these trainings {len(folds)} priors of {folds[0]['steps']} steps, each trained "
                f"without a part of the cases ({minutes:.0f} minutes together), stood in for the prior on cases they "
                "had not seen"
            )
        if weighting := t.get("weighting"):
            lines.append(
                f"- its times were drawn by weight ({weighting['kind']}): from {weighting['least']:g} to "
                f"{weighting['most']:g} times as often as evenly, half of them above "
                f"{weighting['half_of_the_draws_above']:g} T"
            )
    fit, t = p.get("map"), p.get("prior_temperature")
    if t:
        before, after = t["nll_at_temperature_1"], t["nll_at_temperature"]
        lines.append(
            f"- prior temperature {t['temperature']}: calibration NLL {after:.4f}, at temperature 1 {before:.4f}"
        )
    if fit:
        lines.append(
            f"- tau {fit['tau']:.4f}, weight of the first call's mean {fit['mean_weight']:.2f}: calibration NLL "
            f"{fit['nll']:.4f}, at tau {fit['start']} and weight 0 {fit['nll_start']:.4f}"
        )
    return "\n".join(lines)


def _table(evaluation: Mapping[str, Any]) -> str:
    methods = {key: evaluation["methods"][key] for key in TITLES if key in evaluation["methods"]}
    rows = [["", *(TITLES[key] for key in methods)], ["---"] * (len(methods) + 1)]

    def number(key: str, title: str) -> None:
        values = [m.get(key) for m in methods.values()]
        if any(v is not None for v in values):  # an evaluation of an earlier version has fewer
            rows.append([title, *("" if v is None else f"{v:.4f}" for v in values)])

    if several(evaluation):  # what samples are for comes first
        for key, title in RATED.items():
            number(key, title)
    rows.append(["Dice, mean (std)", *(f"{m['dice']['mean']:.4f} ({m['dice']['std']:.4f})" for m in methods.values())])
    for name in next(iter(methods.values()))["dice"]["per_class"]:
        rows.append([f"Dice, {name}", *(f"{m['dice']['per_class'][name]:.4f}" for m in methods.values())])
    for key, title in NUMBERS.items():
        number(key, title)
    for key in ("ged2", "hm_iou", "diversity") if not several(evaluation) else ():
        number(key, RATED[key])
    return _markdown(rows)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _list(entries: Mapping[str, Any]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in entries.items())

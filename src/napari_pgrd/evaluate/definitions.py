"""What each number means, in a sentence that stands beside it in every report."""

from __future__ import annotations

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    "dice": "Dice of the consensus (argmax p) per foreground class, both empty = 1; mean over classes, then mean and "
    "population standard deviation over cases.",
    "nll": "Mean over voxels of -ln p(true class), p clipped at 1e-6; nats; mean over cases.",
    "brier": "Sum over classes of (p - one-hot truth)^2, mean over voxels, mean over cases.",
    "ece": "Expected calibration error of the top label, 15 equal bins, over the whole volume; mean over cases.",
    "ece_roi": "As ece, inside the union of the true and the predicted foreground dilated by 3 voxels (6 neighbours).",
    "adaptive_ece": "As ece, over 15 bins of equally many voxels.",
    "adaptive_ece_roi": "As adaptive_ece, inside the region of ece_roi.",
    "hd95": "95th percentile of the distances between the surfaces of consensus and truth, the larger of the two "
    "directions, in mm (voxels where the spacing is unknown); both empty = 0, one empty = the diagonal of the image; "
    "mean over foreground classes, then over cases.",
    "nsd": "Normalised surface Dice: the share of both surfaces that lies within 1 mm (1 voxel where the spacing is "
    "unknown) of the other; both empty = 1, one empty = 0; mean over foreground classes, then over cases.",
    "auroc_entropy_error": "Probability that a wrong voxel has a higher entropy of p than a right one, ties a half, "
    "inside the region of ece_roi; mean over cases that have errors.",
    "spearman_entropy_error": "Spearman's rank correlation of the entropy of p with the error (0 or 1; with several "
    "raters the share of them that the consensus contradicts) inside the region of ece_roi; mean over cases that have "
    "errors.",
    "ause": "Area between two sparsification curves, inside the region of ece_roi: the mean error of the voxels that "
    "stay when those of highest entropy are left out, and the same when those of highest error are. Shares left out "
    "0, 1, ..., 99 %, trapezoids, ties in entropy in their expected order; 0 is a perfect order.",
    "aurg": "Area between the mean error and the sparsification curve of the entropy, as in ause: what leaving out by "
    "entropy gains over leaving out at random.",
    "sample_dice": "Mean over samples and foreground classes of a sample's Dice against the truth; mean over cases.",
    "pairwise_dice": "Mean over distinct pairs of samples and foreground classes of their Dice; mean over cases.",
    "ged2": "Squared generalised energy distance 2 E d(S, Y) - E d(S, S') - E d(Y, Y') of samples S and raters Y, "
    "d = 1 - IoU of the whole foreground, both empty = 0, over all pairs, a mask with itself included; of a "
    "stack whose slices are drawn alone the mean over the slices that any rater marked; mean over cases. One rater or "
    "one sample makes its own term 0.",
    "hm_iou": "Samples and raters each repeated to the least common multiple of their numbers and matched one to one "
    "so that the mean IoU of the foreground is highest (Hungarian method): that mean, both empty = 1; mean over cases.",
    "diversity": "Mean of d, as in ged2, over distinct pairs of samples; mean over cases.",
    "rater_diversity": "The same over distinct pairs of raters.",
    "empty_samples": "Share of the samples without any foreground; mean over cases.",
    "empty_raters": "The same of the raters.",
    "volume_coverage": "Share of cases whose true volume lies in the 5-95 % range (linear quantiles) of the "
    "samples' volumes.",
    "interval_coverage": "As volume_coverage, of the conformal 90 % interval: that range widened on both sides by a "
    "share of the median volume that was fitted on the calibration cases.",
    "unanimous_error_share": "Of all wrong voxels of the consensus, over all cases, the share at which every sample "
    "chose the same class.",
    "seconds_per_case": "Wall time from the volume in memory to its maps, mean over cases.",
    "several_raters": "With several raters nll, brier, the four calibration errors, sample_dice and volume_coverage "
    "are averaged over raters; the region is the union of all of them and the prediction; an error is counted for "
    "every rater it contradicts. dice, hd95, nsd and unanimous_error_share are against the majority: foreground is "
    "what at least half of the raters marked, of the class most of them chose.",
}

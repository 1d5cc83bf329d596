"""What to do about each exit code of ours, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping

NO_LABEL = (
    "The reasons are in `results.failed` of the job: mostly a calculator that is not installed there, or geometries "
    "that it refuses."
)
NO_PROPERTY = "The reason is with each property below: mostly a potential that does not bind the crystal asked for."

JOBS: Mapping[int, str] = {
    110: "The scheduler says the job ran out of memory: ask for more memory, or halve the batch size.",
    120: "The scheduler says the job ran out of time: ask for more, or restart from its folder.",
    140: "The node failed: submit again.",
    300: "Look at `verdi calcjob outputcat`: the job ended before the worker could write its result.",
    301: "The result is cut short, mostly by a full disk or quota: free space and submit again.",
    302: "A file is missing or damaged, mostly by a full disk: free space and submit again.",
    310: "Run `aiida-mlip setup` so that worker and package are of one version.",
    320: "The traceback is in `verdi process report`: please report it with the message above.",
    321: "Correct the input that the message names. Where it is right, the worker is older than this package: run "
    "`aiida-mlip setup`.",
    330: "Install mace-torch, ase and matscipy in the environment that the worker's code activates.",
    331: "Ask for a GPU in the options of the job, or set `device` to `cpu`.",
    340: "Halve `batch_size`, use `float32`, or ask for more memory.",
    400: "Submit the work chain of the job (`mlip.train.base`, `mlip.property.base`, `mlip.md.base`, "
    "`mlip.label`) with more iterations, or restart from this job.",
    401: "Ask for more wall time: not a single epoch or step was finished.",
    411: NO_LABEL,
    420: "Look at the start structures and at `stop`: every walker broke a rule at its first step.",
    430: "Lower the learning rate, and check the labels and the E0s of the training set.",
    710: NO_PROPERTY,
    440: "Do not use this potential: what was trained is not what was asked for. Please report it.",
}
"""Exit status of any job of ours -> remedy."""

FUNCTIONS: Mapping[str, Mapping[int, str]] = {
    "build_box": {
        410: "Lower the density or the tolerance of the box as the message says; where packmol is missing, install it.",
        411: "Ask for a tolerance of 2 Å: nearer molecules are taken for bonded.",
    },
}
"""Function of a calculation -> exit status -> remedy."""

WORKFLOWS: Mapping[str, Mapping[int, str]] = {
    "TrainBaseWorkChain": {
        450: "The reason is with the last job below.",
        451: "Ask for more wall time, so that several epochs fit into one job.",
        452: "Ask for more wall time: one epoch has to fit into it.",
        453: "Use a node with more memory, `float32`, or smaller configurations.",
        454: "Check labels and E0s: a second divergence seldom comes from the learning rate.",
        455: "Look at the node and the disk quota of the computer, then submit again.",
    },
    "FinetuneWorkChain": {
        201: "Correct the frames that the audit names, leave them out, or switch `audit.strict` off after looking.",
        202: "Correct the sets as the message says, or change `split`.",
        450: "The reason is with the evaluation of the foundation model below.",
        451: "The reason is with the evaluation that labels the replay set below.",
        452: "The reasons are with the trainings below.",
        453: "The reason is with the evaluation of the trained potential below.",
        700: "The potential can be used, but look at the configuration types named: more data of that type, a lower "
        "learning rate or replay may help. Widen `accept` only where the loss does not matter to you.",
        701: "The potential can be used for what it was trained on. Replay, freezing more of the model, or a lower "
        "learning rate keep more of the rest.",
        702: "The other members can be used. The reasons are with the steps that failed.",
    },
    "IterativeTrainingWorkChain": {
        201: "Give more start structures, more augmentation or a labelled training set, or change the fractions that "
        "are held out and that validate, as the message says.",
        460: "The reasons are with the labelling below: what all labels have in common is an input of the code.",
        461: "The reasons are with the trainings below. Correct them and go on from this run (`resume`): members that "
        "were trained are taken over.",
        462: "The reason is with the evaluation or the uncertainty below. Correct it and go on from this run.",
        463: "The reason is with the dynamics below: mostly a computer or an environment. Go on from this run.",
        464: "The reason is with the selection below. Correct it and go on from this run.",
        465: "Look at the reasons of the labels that failed. Go on from this run with other `label` settings: what was "
        "labelled is in the set and is not made again.",
        705: "Go on from this run with more generations, look at what is not converged, or widen `convergence`.",
        706: "Go on from this run with a larger `label_budget`, or use the potential as it is.",
        707: "What is uncertain cannot be labelled: all of it was filtered or is as what is known. Look at the filters "
        "and the trust levels of the selection, and at why walkers were stopped.",
    },
    "MDBaseWorkChain": {
        420: "Look at the start structures and at `stop`: every walker broke a rule at its first step.",
        450: "The reason is with the last job below.",
        451: "Ask for more wall time: loading the potential takes all of it.",
        452: "Ask for more wall time: loading the potential and one step have to fit into it.",
        453: "Use a node with more memory, `float32`, or smaller cells.",
        455: "Look at the node and the disk quota of the computer, then submit again.",
    },
    "LiquidBaseWorkChain": {
        450: "The reason is with the last job below.",
        451: "Ask for more wall time: the next trajectory needs more than one job has.",
        452: "Ask for more wall time: reading one trajectory has to fit into it. Fewer checks (`only`) take less.",
        453: "Use a node with more memory, or make fewer checks (`only`).",
        455: "Look at the node and the disk quota of the computer, then submit again.",
    },
    "LabelWorkChain": {
        450: "The reason is with the calculation below that prepares the inputs of pw.x: mostly a cell that is none.",
        460: "Look at the reasons in the report: what all labels have in common is an input of the labelling code.",
        461: "The labelled set can be used. Look at the reasons in the report before you raise `max_failed_fraction`; "
        "submit again for what a node or a limit stopped, the rest is taken from the database.",
        462: "The reason is with the last job below. What it labelled before is in the set; submit again for the rest.",
    },
    "LabelBaseWorkChain": {
        411: NO_LABEL,
        450: "The reason is with the last job below.",
        451: "Ask for more wall time: the next configuration needs more than one job has.",
        452: "Ask for more wall time: one label has to fit into it.",
        455: "Look at the node, its memory and the disk quota of the computer, then submit again.",
    },
    "PwLabelWorkChain": {
        452: "Ask for more wall time for pw.x: its files have to be written before the end.",
        453: "Ask for more memory, more nodes, or leave out configurations of that size.",
        455: "Look at the node, the disk quota and the output of pw.x, then submit again.",
    },
    "PropertyBaseWorkChain": {
        450: "The reason is with the last job below.",
        451: "Ask for more wall time, so that several steps fit into one job.",
        452: "Ask for more wall time: one step has to fit into it.",
        453: "Use a node with more memory, `float32`, or smaller cells.",
        455: "Look at the node and the disk quota of the computer, then submit again.",
        710: NO_PROPERTY,
    },
    "ElectrolyteWorkChain": {
        460: "Lower the density or the tolerance of the boxes named, or import a box. The verdict is on the others.",
        461: "The tests of forces need a box or labelled configurations of at least two molecules; leave them out with "
        "`force_tests: null`. The dynamics is in the verdict.",
        462: "The reason is with `reference_labels` below: mostly a calculator that is not installed there. The "
        "verdict stands without the comparison. Submit again: the rest comes from the cache where caching is on.",
        463: "The reasons are with the labels below. The dynamics is in the verdict.",
        464: "The reasons are with the tests of forces below. Please report it with the message above.",
        465: "The reason is with the dynamics below: mostly a computer or its limits, since a liquid that falls apart "
        "is a result. Submit again: what was computed comes from the cache where caching is on.",
        466: "The reason is with the checks below: mostly a folder of the dynamics that is gone, or a limit of time. "
        "Submit again: what was computed comes from the cache where caching is on.",
    },
    "DefectsWorkChain": {
        454: "Look at the reasons below: a potential has to know the element, and its crystal has to have a minimum.",
        703: "What has a result can be used. Look below at what is missing and why; submit again for what a node or a "
        "limit stopped, the rest comes from the cache where caching is on.",
        704: "Do not use the numbers that are hatched below; the flags say why. The others can be used.",
    },
}
"""Class of a work chain -> exit status -> remedy."""


def remedy(process: str, status: int | None) -> str:
    """Return what to do, or an empty text where nothing general can be said.

    :param process: class or function of the process, e.g. ``TrainCalculation``.
    """
    known = FUNCTIONS.get(process) or WORKFLOWS.get(process, JOBS)
    return known.get(status or 0, "")

"""compact_bench: a reproducible benchmark suite for multi-teacher chain-of-thought distillation.

Everything that a method, a probe or a script of your own needs is a name of this module, loaded when it is
first used: `from compact_bench import Question, Strict, train`. What a name does is said where it is defined.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# Telemetry of the libraries underneath is off unless the user has chosen otherwise.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

__version__ = "0.1.0"

if TYPE_CHECKING:
    from compact_bench.core.answers import ANSWER_PHRASE as ANSWER_PHRASE
    from compact_bench.core.answers import answer_span as answer_span
    from compact_bench.core.answers import canonical_answer as canonical_answer
    from compact_bench.core.answers import canonical_text as canonical_text
    from compact_bench.core.answers import extract_answer as extract_answer
    from compact_bench.core.answers import same_answer as same_answer
    from compact_bench.core.errors import CompactBenchError as CompactBenchError
    from compact_bench.core.errors import ConfigError as ConfigError
    from compact_bench.core.errors import DataError as DataError
    from compact_bench.core.errors import Fault as Fault
    from compact_bench.core.errors import NumericalError as NumericalError
    from compact_bench.core.errors import StoreError as StoreError
    from compact_bench.core.errors import StudentError as StudentError
    from compact_bench.core.errors import UnknownNameError as UnknownNameError
    from compact_bench.core.errors import UnsupportedError as UnsupportedError
    from compact_bench.core.files import write_atomic as write_atomic
    from compact_bench.core.records import Feedback as Feedback
    from compact_bench.core.records import PeerReview as PeerReview
    from compact_bench.core.records import Question as Question
    from compact_bench.core.records import Rationale as Rationale
    from compact_bench.core.records import RationalePair as RationalePair
    from compact_bench.core.records import fingerprint as fingerprint
    from compact_bench.core.records import without_truth as without_truth
    from compact_bench.core.settings import NonNegative as NonNegative
    from compact_bench.core.settings import Rate as Rate
    from compact_bench.core.settings import RunSettings as RunSettings
    from compact_bench.core.settings import Strict as Strict
    from compact_bench.core.settings import TrainSettings as TrainSettings
    from compact_bench.data.files.formats import RowProblem as RowProblem
    from compact_bench.data.files.formats import row_number as row_number
    from compact_bench.data.files.formats import row_text as row_text
    from compact_bench.data.validation.limits import unknown_finder as unknown_finder
    from compact_bench.evaluation.answers import AnswerFormat as AnswerFormat
    from compact_bench.evaluation.engines.stopping import stop_ids as stop_ids
    from compact_bench.evaluation.guards import read_only as read_only
    from compact_bench.evaluation.probes.answer_nats import answer_branches as answer_branches
    from compact_bench.evaluation.probes.answer_nats import answer_nats as answer_nats
    from compact_bench.evaluation.probes.answer_nats import span_nats as span_nats
    from compact_bench.evaluation.probes.registry import Measure as Measure
    from compact_bench.evaluation.probes.registry import Probe as Probe
    from compact_bench.evaluation.probes.registry import ProbeInputs as ProbeInputs
    from compact_bench.methods.checks import CHECKS as CHECKS
    from compact_bench.methods.checks import CheckResult as CheckResult
    from compact_bench.methods.checks import check_method as check_method
    from compact_bench.methods.compact.explain import ExplainReport as ExplainReport
    from compact_bench.methods.compact.explain import explain as explain
    from compact_bench.methods.compact.objective import PaperObjective as PaperObjective
    from compact_bench.methods.compact.objective import WeightingConfig as WeightingConfig
    from compact_bench.methods.compact.released import ReleasedObjective as ReleasedObjective
    from compact_bench.methods.compact.scores import difficulty as difficulty
    from compact_bench.methods.contract import Claim as Claim
    from compact_bench.methods.contract import Method as Method
    from compact_bench.methods.contract import MethodCard as MethodCard
    from compact_bench.methods.contract import NoSettings as NoSettings
    from compact_bench.methods.contract import SuiteInfo as SuiteInfo
    from compact_bench.methods.contract import refusal as refusal
    from compact_bench.results.figures import Line as Line
    from compact_bench.results.figures import Panel as Panel
    from compact_bench.results.figures import Point as Point
    from compact_bench.results.figures import draw as draw
    from compact_bench.students.averaging import BranchMean as BranchMean
    from compact_bench.students.averaging import adapted_layers as adapted_layers
    from compact_bench.students.averaging import load_weights as load_weights
    from compact_bench.students.averaging import restore as restore
    from compact_bench.students.averaging import save_weights as save_weights
    from compact_bench.students.averaging import trained_weights as trained_weights
    from compact_bench.students.chat import chat_text as chat_text
    from compact_bench.students.chat import encode_row as encode_row
    from compact_bench.students.chat import prompt_ids as prompt_ids
    from compact_bench.students.student import Student as Student
    from compact_bench.students.student import load_student as load_student
    from compact_bench.training.branches import EncodedBranch as EncodedBranch
    from compact_bench.training.branches import EncodedQuestion as EncodedQuestion
    from compact_bench.training.branches import encode_branch as encode_branch
    from compact_bench.training.branches import encode_question as encode_question
    from compact_bench.training.checkpoints import PARTS as PARTS
    from compact_bench.training.checkpoints import TrainingPart as TrainingPart
    from compact_bench.training.loop import joined_report as joined_report
    from compact_bench.training.loop import train as train
    from compact_bench.training.loss.forward import branch_hidden as branch_hidden
    from compact_bench.training.loss.head import HeadValues as HeadValues
    from compact_bench.training.loss.head import branch_values as branch_values
    from compact_bench.training.loss.head import label_values as label_values
    from compact_bench.training.loss.supervised import Reduction as Reduction
    from compact_bench.training.loss.supervised import branch_losses as branch_losses
    from compact_bench.training.loss.supervised import branch_rows as branch_rows
    from compact_bench.training.loss.supervised import reduced_losses as reduced_losses
    from compact_bench.training.loss.terms import consistency_loss as consistency_loss
    from compact_bench.training.loss.terms import span_log_probs as span_log_probs
    from compact_bench.training.loss.terms import symmetric_kl as symmetric_kl
    from compact_bench.training.loss.terms import token_log_losses as token_log_losses
    from compact_bench.training.objectives import AllBranches as AllBranches
    from compact_bench.training.objectives import Chooser as Chooser
    from compact_bench.training.objectives import InnerBranches as InnerBranches
    from compact_bench.training.objectives import SelectedBranches as SelectedBranches
    from compact_bench.training.objectives import SupervisedConfig as SupervisedConfig
    from compact_bench.training.objectives import SupervisedObjective as SupervisedObjective
    from compact_bench.training.objectives import draw_teacher as draw_teacher
    from compact_bench.training.objectives import keep_teachers as keep_teachers
    from compact_bench.training.optimiser import schedule_steps as schedule_steps
    from compact_bench.training.protocol import CombinesGradients as CombinesGradients
    from compact_bench.training.protocol import FitReport as FitReport
    from compact_bench.training.protocol import MakesOptimiser as MakesOptimiser
    from compact_bench.training.protocol import Objective as Objective
    from compact_bench.training.protocol import OwnsParameters as OwnsParameters
    from compact_bench.training.protocol import RunContext as RunContext
    from compact_bench.training.protocol import SchedulesRate as SchedulesRate
    from compact_bench.training.protocol import StepAware as StepAware
    from compact_bench.training.protocol import StepLoss as StepLoss
    from compact_bench.training.protocol import derive_seed as derive_seed

# Names by the module that defines them; the imports above say it to type checkers, a test compares both.
_NAMES = {
    "core.answers": "ANSWER_PHRASE answer_span canonical_answer canonical_text extract_answer same_answer",
    "core.errors": "CompactBenchError ConfigError DataError Fault NumericalError StoreError StudentError "
    "UnknownNameError UnsupportedError",
    "core.files": "write_atomic",
    "core.records": "Feedback PeerReview Question Rationale RationalePair fingerprint without_truth",
    "core.settings": "NonNegative Rate RunSettings Strict TrainSettings",
    "data.files.formats": "RowProblem row_number row_text",
    "data.validation.limits": "unknown_finder",
    "evaluation.answers": "AnswerFormat",
    "evaluation.engines.stopping": "stop_ids",
    "evaluation.guards": "read_only",
    "evaluation.probes.answer_nats": "answer_branches answer_nats span_nats",
    "evaluation.probes.registry": "Measure Probe ProbeInputs",
    "methods.checks": "CHECKS CheckResult check_method",
    "methods.compact.explain": "ExplainReport explain",
    "methods.compact.objective": "PaperObjective WeightingConfig",
    "methods.compact.released": "ReleasedObjective",
    "methods.compact.scores": "difficulty",
    "methods.contract": "Claim Method MethodCard NoSettings SuiteInfo refusal",
    "results.figures": "Line Panel Point draw",
    "students.averaging": "BranchMean adapted_layers load_weights restore save_weights trained_weights",
    "students.chat": "chat_text encode_row prompt_ids",
    "students.student": "Student load_student",
    "training.branches": "EncodedBranch EncodedQuestion encode_branch encode_question",
    "training.checkpoints": "PARTS TrainingPart",
    "training.loop": "joined_report train",
    "training.loss.forward": "branch_hidden",
    "training.loss.head": "HeadValues branch_values label_values",
    "training.loss.supervised": "Reduction branch_losses branch_rows reduced_losses",
    "training.loss.terms": "consistency_loss span_log_probs symmetric_kl token_log_losses",
    "training.objectives": "AllBranches Chooser InnerBranches SelectedBranches SupervisedConfig "
    "SupervisedObjective draw_teacher keep_teachers",
    "training.optimiser": "schedule_steps",
    "training.protocol": "CombinesGradients FitReport MakesOptimiser Objective OwnsParameters RunContext "
    "SchedulesRate StepAware StepLoss derive_seed",
}
_HOMES = {name: f"compact_bench.{home}" for home, names in _NAMES.items() for name in names.split()}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    # torch and transformers take seconds to import; `--help` must not pay for them.
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

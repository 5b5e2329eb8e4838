"""The file system: walking inputs, looking into recordings, reading them, naming and writing outputs.

Only this package touches the user's files. What blocks says so and is run through `offload`.
"""

from batcher.files.examine import Examination, Verdict, examine
from batcher.files.flac import as_flac
from batcher.files.inputs import Input, Inputs, gather, url_output
from batcher.files.names import fold, output_name, with_suffix
from batcher.files.offload import in_flight, offload
from batcher.files.outputs import (
    NameTaken,
    OutputError,
    free_bytes,
    missing_outputs,
    private_directory,
    remove_file,
    sync_directory,
    write_output,
)
from batcher.files.recording import Recording, Stat, open_recording
from batcher.files.small import read_small
from batcher.files.temporaries import sweep_temporaries
from batcher.files.walk import EXTENSIONS, Found, WalkProblem, WalkRules, batches, walk

__all__ = [
    "EXTENSIONS",
    "Examination",
    "Found",
    "Input",
    "Inputs",
    "NameTaken",
    "OutputError",
    "Recording",
    "Stat",
    "Verdict",
    "WalkProblem",
    "WalkRules",
    "as_flac",
    "batches",
    "examine",
    "fold",
    "free_bytes",
    "gather",
    "in_flight",
    "missing_outputs",
    "offload",
    "open_recording",
    "output_name",
    "private_directory",
    "read_small",
    "remove_file",
    "sweep_temporaries",
    "sync_directory",
    "url_output",
    "walk",
    "with_suffix",
    "write_output",
]

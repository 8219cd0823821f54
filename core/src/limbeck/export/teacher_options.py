"""Options of teachers that are read from a file. No torch here: the registry reads them before anything heavy loads."""

from pydantic import Field

from limbeck.options import Options, ProcessName


class TeacherFileOptions(Options):
    """A teacher from a file, bundled with a package or written by the exporter `teacher`."""

    weights: str = Field(
        min_length=1, description="a teacher file of your own, or PACKAGE:PATH of one that a package ships"
    )
    generator: str | None = Field(
        None, description="registered generator that builds the network of a file whose header names none"
    )


class MovableTeacherOptions(TeacherFileOptions):
    """A teacher from a file whose network sees noise levels only (prediction edm), so that it fits every process."""

    process: ProcessName | None = Field(
        None,
        description="process to predict on (exact: an edm network sees only sigma / alpha); None: as trained",
    )

"""The errors meant for users: one message that names the place, the finding and the way out."""


class ElmoError(Exception):
    """Base of every error that a user can cause and mend; scripts print it without a traceback."""


class DataError(ElmoError):
    """A corpus or vectors file is missing, unreadable or not in the expected format."""


class ConfigError(ElmoError):
    """Settings that cannot work, or that do not fit together."""


class ArtifactError(ElmoError):
    """A `.pt` file that is missing, damaged, of another kind or of a newer format."""


class DivergedError(ElmoError):
    """The loss of a training is infinite or not a number."""


class MissingModelError(ElmoError):
    """A pretrained model is needed and none is there."""

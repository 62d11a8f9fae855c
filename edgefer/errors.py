"""The errors that edgefer raises on purpose: each says what was wrong, what was found and what to do."""

from __future__ import annotations


class EdgeferError(Exception):
    """Base of every error that a user can meet; the command line prints it as one line and exits with 1."""


class BundleError(EdgeferError):
    """A bundle is missing, broken, changed, or of a schema that this version does not read."""


class DataError(EdgeferError):
    """A data set cannot be read: missing, truncated, wrong shape, wrong label."""


class RecipeError(EdgeferError):
    """A recipe names an unknown field or holds a value out of range."""


class MissingDependencyError(EdgeferError):
    """A package that this step needs is not installed; the message names the extra that brings it."""


class EngineError(EdgeferError):
    """A runtime engine is unknown, not installed, or refuses a model."""


class SourceError(EdgeferError):
    """A frame source cannot be opened or read."""


class DetectorError(EdgeferError):
    """A face detector or its model cannot be opened or fetched."""


class SinkError(EdgeferError):
    """An output (video, window, web preview, MQTT, …) cannot be opened or written."""


class DeviceError(EdgeferError):
    """A device profile is unknown or malformed."""


class ConfigError(EdgeferError):
    """A configuration file cannot be read, or says what no option takes."""


class TrainError(EdgeferError):
    """Training cannot start or go on: unknown architecture, a checkpoint of another run, a loss that is not finite."""


class ExportError(EdgeferError):
    """An export failed, or the artifact disagrees with what was trained."""


class RecordError(EdgeferError):
    """A benchmark record cannot be read or compared."""


class EmulatorError(EdgeferError):
    """The emulated board cannot be prepared, or what ran on it failed."""

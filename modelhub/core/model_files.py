"""What the server knows of the models with files: on this machine (``catalogue``), or on its nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from modelhub.core.scan import Entry
from modelhub.errors import ModelhubError
from modelhub.model_ids import plain_model_id

# A cache may hold a part of what the hub has, but these formats are no model of transformers in any case.
_NEVER_A_MODEL = ("adapter", "diffusers")


class ModelFiles:
    """Every model with files, by id. ``version`` is another number whenever the list is another.

    ``on_late`` is called where it is another than was returned a moment ago; ``last`` is the list as it is
    known without a look.
    """

    def __init__(self) -> None:
        self.last: Mapping[str, Entry] = {}
        self.is_complete = False  # all has been looked at once
        self.version = 0
        self.on_late: list[Callable[[], None]] = []

    def entries(self) -> Mapping[str, Entry]:
        """Every model, by id: the same object while nothing changes."""
        raise NotImplementedError

    def find(self, model_id: str) -> Entry | None:
        """The model, if it has files. One with a revision is looked up by its repo."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Have the next call look anew: something has just changed."""
        raise NotImplementedError

    def nodes_of(self, model_id: str) -> Sequence[str]:
        """The nodes of a cluster that have files of the model."""
        raise NotImplementedError

    def id_of(self, text: str) -> str:
        """The id of what a person or a client names: an id, a link to the hub, or a name in the list.

        The names of folders that no id may have are in the list too. Raises ``invalid_id``.
        """
        try:
            return plain_model_id(text)
        except ModelhubError:
            if (name := text.strip()) in self.entries():
                return name
            raise

    def check_loadable(self, model_id: str) -> None:
        """Raise what keeps the model from being loaded, where that is certain before the load begins."""
        entry = self.entries().get(model_id)
        if entry is None or entry.cannot_load is None:
            return
        if entry.source == "folder" or entry.cannot_load["code"] in _NEVER_A_MODEL:
            raise ModelhubError.from_dict(entry.cannot_load)


def find_in(entries: Mapping[str, Entry], model_id: str) -> Entry | None:
    """The model among ``entries``; one with a revision is looked up by its repo."""
    return entries.get(model_id) or entries.get(model_id.partition("@")[0])

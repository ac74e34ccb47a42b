"""Snapshots of hub repositories: weights as safetensors and what a tokenizer needs, no pickles."""

from pathlib import Path

from labkit.pretrained.entries import Hub
from labkit.registry import SourceUnavailable
from labkit.sources.chain import HUB_PROBE_S

FILES = (
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)


def snapshot(hub: Hub) -> Path:
    """The folder of a repository at its pinned commit: downloaded, or from the hub's own cache.

    Raises:
        SourceUnavailable: the hub cannot be reached or refuses, and its cache has no copy.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError

    try:
        # Without a probe that has a deadline, the download's retries take minutes when offline.
        HfApi().model_info(hub.repository, revision=hub.revision, timeout=HUB_PROBE_S)
        path = snapshot_download(hub.repository, revision=hub.revision, allow_patterns=list(FILES))
        return Path(path)
    except Exception as error:  # the hub's client raises a dozen unrelated types when offline
        kept = _kept(hub)
        if kept is not None:
            return kept
        why = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        if isinstance(error, GatedRepoError):
            why = f"its licence has not been accepted by the account in use ({why})"
        raise SourceUnavailable(f"hub {hub.repository}: {why}") from error


def by_hand(hub: Hub, name: str) -> str:
    """How to get the weights where there is no network, as numbered steps."""
    licence = (
        f"accept the licence at https://huggingface.co/{hub.repository}, run `hf auth login`, then "
        if hub.gated
        else ""
    )
    patterns = " ".join(f"--include '{pattern}'" for pattern in FILES)
    return (
        f"Where there is a network, {licence}run\n"
        f"  hf download {hub.repository} --revision {hub.revision} "
        f"--local-dir DIR/{name} {patterns}\n"
        "Then set LABKIT_MODELS to DIR here."
    )


def _kept(hub: Hub) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = snapshot_download(
            hub.repository,
            revision=hub.revision,
            allow_patterns=list(FILES),
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return None
    return Path(path)

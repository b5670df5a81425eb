"""Statistics of a data set and its possible problems, computed once and cached under its fingerprint."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import version

from danlu.catalogue.lookup import resolve
from danlu.data.base.dataset import DataSet
from danlu.data.kinds import KINDS
from danlu.data.survey.result import Survey
from danlu.storage.access import Access
from danlu.storage.contents import page_digest, read_checked_page, write_checked_page

FORMAT = 6
"""increase it when a statistic or the wording of a problem changes"""


def survey_data_set(data: DataSet, access: Access | None = None) -> Survey:
    """The statistics of a data set, from the cache if possible.

    The cache file depends on the format of a survey, the version of danlu and the fingerprint of the data, so a survey
    of another version, with other statistics or messages, is not used.

    Args:
        data: the data set.
        access: folder of the cache.

    >>> from danlu.data import digits
    >>> survey_data_set(digits()).examples
    {'train': 1258, 'validation': 180, 'test': 359}
    """
    try:
        folder = (access or Access()).cache_folder("surveys")
    except (OSError, RuntimeError):  # it cannot be written
        return _with_own(data, compute_survey(data))
    content = data.fingerprint()
    if data.identifiers is not None:  # two files can differ only in digits that float32 does not have
        content = page_digest({"data": content, "identifiers": data.identifiers})
    path = folder / f"{FORMAT}-{version('danlu')}-{content}.json"
    with suppress(OSError, ValueError, TypeError):
        return _with_own(data, Survey(**read_checked_page(path)))
    computed = compute_survey(data)
    with suppress(OSError):
        write_checked_page(path, asdict(computed))
    return _with_own(data, computed)


def _with_own(data: DataSet, survey: Survey) -> Survey:
    """A survey with the problems that reading the data has shown, which its values and fingerprint do not have."""
    return replace(survey, problems=[*data.problems, *survey.problems])


def compute_survey(data: DataSet) -> Survey:
    """The statistics of a data set, computed by the function of its kind in ``data.kinds``, without the cache."""
    return resolve(KINDS[data.info.kind].survey)(data)

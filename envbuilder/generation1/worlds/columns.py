"""The vocabulary of optional parameters: columns that any table may have, switches, and names that code needs itself.

Every kind of record has a clerk, a district, a source, whatever it is about: such columns begin with "_".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from envbuilder.generation1.worlds.schema import split_alternatives

LOCALS = frozenset(
    (
        *("scope", "span", "first", "last", "value", "result", "row", "matches", "wanted", "wanted_key", "text"),
        *("columns", "column", "expected", "name", "names", "key", "item", "answer", "pair", "when", "month", "day"),
    )
)
"""What the code of a lookup calls its own variables, so that no parameter may."""

EXAMPLES = (" For example '{}'.", " Example: '{}'.", " E.g. {}.", " ('{}', for instance.)", " Such as '{}'.")
REMARKS = (" Optional.", " May be left out.", " Ignored when empty.", " No restriction by default.", " Rarely needed.")


@dataclass(frozen=True, slots=True)
class Column:
    """A column that any table may have: alternative names, a description, and the pattern or values of its cells."""

    names: tuple[str, ...]
    about: tuple[str, ...]
    pattern: str = ""
    values: tuple[tuple[str, ...], ...] = ()


TEXTS: Mapping[str, Column] = {
    "_clerk": Column(
        split_alternatives("registrar|clerk|recorded_by|compiler|archivist|inspector|entered_by|keeper"),
        split_alternatives(
            "Only accept the record when it was entered by this member of staff (surname).|"
            "Restricts the search to records that this person compiled; leave out to accept any compiler.|"
            "Name of the official who signed the entry. Records signed by anybody else are rejected.|"
            "Optional filter on the person responsible for the record, given by surname."
        ),
        "{last}",
    ),
    "_district": Column(
        split_alternatives("district|parish|county|jurisdiction|zone|ward|canton|circuit"),
        split_alternatives(
            "Administrative {name} in which the record is kept; any other {name} is rejected.|"
            "Narrows the search to one {name}. Useful where several offices keep similar books.|"
            "Only consider records of this {name}, given by its plain name. Optional.|"
            "Name of the {name} responsible for the {noun}; without it all of them are searched."
        ),
        "{stem}|{town}",
    ),
    "_series": Column(
        split_alternatives("series|edition|collection|volume|fonds|dossier"),
        split_alternatives(
            "The {name} in which the record was published, for instance as printed on the spine.|"
            "Limits the lookup to one {name} of the holdings; others are treated as missing.|"
            "Title of the {name} that the entry has to belong to. By default every {name} counts."
        ),
        "{stem} Papers|{noun} Rolls|{noun} Files",
    ),
    "_agency": Column(
        split_alternatives("agency|branch|data_provider|submitted_by|office|custodian_office"),
        split_alternatives(
            "Office that delivered the record. When given, records of other offices are ignored.|"
            "Name of the providing body; restricts the lookup to what it has submitted.|"
            "Optional filter: the body from which the entry about the {noun} was obtained."
        ),
        "{town} Office|{stem} Bureau|{stem} Desk",
    ),
}
ENUMS: Mapping[str, Column] = {
    "_source": Column(
        split_alternatives("source|source_type|provenance|record_source|evidence"),
        split_alternatives(
            "Kind of source that the record must come from. Any source is accepted when it is left out.|"
            "Restricts the lookup to records taken from one kind of source.|"
            "Only use records with this provenance; a record of another one is refused."
        ),
        values=(
            ("ledger", "survey", "press report", "testimony"),
            ("primary", "secondary", "oral"),
            ("inspection", "questionnaire", "archive"),
            ("official", "private", "academic"),
            ("sworn statement", "invoice", "eyewitness account"),
        ),
    ),
    "_status": Column(
        split_alternatives("status|record_status|state|stage|validity"),
        split_alternatives(
            "Editorial state that the record must be in; without it, every state is accepted.|"
            "Filters by how far the entry has been checked. Optional.|"
            "Only return the entry about the {noun} if it has reached this state."
        ),
        values=(
            ("draft", "confirmed", "amended"),
            ("open", "closed", "pending"),
            ("provisional", "final", "superseded"),
            ("active", "dormant", "archived"),
            ("unchecked", "proofread", "certified"),
        ),
    ),
    "_grade": Column(
        split_alternatives("grade|quality|tier|priority|level"),
        split_alternatives(
            "Quality that the record must have been given by the reviewers. Optional.|"
            "Accept the record only if it belongs to this class of reliability.|"
            "Class of the entry in the internal review; a mismatch is reported as an error."
        ),
        values=(
            ("high", "medium", "low"),
            ("gold", "silver", "bronze"),
            ("first class", "second class", "third class"),
            ("excellent", "adequate", "poor"),
            ("major", "minor", "marginal"),
        ),
    ),
}
FLAGS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "exact": (
        split_alternatives("exact_spelling|case_sensitive|exact_match|strict_match"),
        split_alternatives(
            "Require the name exactly as it is registered, including capitals. Default is false.|"
            "Whether upper and lower case must match as well; false by default.|"
            "Switches off the tolerance for capitals and stray spaces in the name of the {noun}."
        ),
    ),
    "verified": (
        split_alternatives("verified_only|confirmed_only|official_only|audited_only"),
        split_alternatives(
            "Whether to refuse records that have not been countersigned yet. Default is false.|"
            "Only use entries that a second person has checked; off by default.|"
            "If true, entries that still await an audit are reported as an error."
        ),
    ),
    "prefix": (
        split_alternatives("allow_partial|prefix_search|partial_match|autocomplete"),
        split_alternatives(
            "Accept the beginning of a name where only one {noun} begins like that. Default is false.|"
            "Whether an incomplete name may be completed when there is no doubt.|"
            "Lets the search succeed on the first words of the name, provided they are unambiguous."
        ),
    ),
}

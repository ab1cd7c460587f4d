"""What tools and their parameters say of themselves: alternatives, in words that no question uses.

`{filed}` and `{filed_plural}` are the tools' nouns for a kind, `{office}` is who runs the tool, `{form}` shows what a
reference looks like.
"""

from __future__ import annotations

OPENINGS = (
    "Reads one entry of a {filed} from the file kept by the {office}.",
    "{office}: entries on {filed_plural}, one per request.",
    "Query service of the {office} for {filed_plural}; returns a single entry.",
    "Returns an entry on a {filed} as it stands in the books of the {office}.",
    "Extract from the file on {filed_plural} kept by the {office}.",
    "Serves the holdings of the {office} on {filed_plural}, entry by entry.",
    "Public endpoint of the {office}; one coded entry about a {filed}.",
    "Retrieves a coded entry from the {office} ({filed_plural}).",
    "Machine-readable dossier on any {filed} known to the {office}.",
    "{filed_plural} as documented by the {office}. Delivers whichever entry the code denotes.",
    "Wraps the mainframe of the {office}: supply a {filed} and an entry code.",
    "Discloses single particulars of {filed_plural} on behalf of the {office}.",
    "Gateway to the {office}. Emits one particular of one {filed}.",
)
FINDERS = ("title_to_ref", "ref_resolver", "joint_directory", "concordance", "refdesk_query", "xreg_resolve")
FINDER_OPENINGS = (
    "Resolves a registered title to the reference that other services expect. Run jointly by all registers.",
    "Joint reference desk of the registers: from a title to its reference.",
    "Returns references for a title, with particulars that tell namesakes apart, across registers.",
    "Concordance of titles and references that all registers share.",
    "Common directory of the registers. Yields the reference behind a title; namesakes are listed together.",
)
MAPPERS = ("xref_bridge", "crosswalk", "ref_translate", "renumbering_table")
MAPPER_OPENINGS = (
    "Translates a reference from one numbering to another, for all registers.",
    "Crosswalk between the numberings that the registers have in use.",
    "The registers renumbered their files; this bridges old and new references.",
)
LIST_OPENINGS = (
    "{filed} Served by the {office}.",
    "{filed} Source: {office}.",
    "{filed} Kept by the {office}.",
    "{filed} As transmitted to the {office}.",
)
TAILS = (
    "Case and spacing of titles are ignored.",
    "An error says which argument was at fault.",
    "Billing is per request.",
    "Updated overnight.",
    "Responses carry the registered title.",
    "Throttled at peak hours.",
    "Schema frozen since release 4.",
    "Mirrors are refreshed weekly.",
)
SUBJECTS = (
    "Registered title of the {filed}, in full.",
    "Title under which the {filed} is registered.",
    "Full registered title of the {filed}; no abbreviations.",
    "Which {filed}, by registered title.",
)
TITLE_NAMES = ("title", "registered_title", "full_title", "reg_title", "title_text")
NUMBERINGS = ("numbering in force", "numbering abolished in 1974", "numbering of the auditors")
NUMBERS = (
    "Reference of the {filed} in the numbering in force, form {form}.",
    "Which {filed}: its reference in force, written like {form}.",
    "Reference in force of the {filed}; it has the form {form}.",
)
FIELDS = ("Entry wanted. ", "Code of the entry: ", "Which entry to return. ", "Entry code. ")
FIELD_NAMES = ("entry", "item", "fld", "code", "attr", "col")
YEARS = (
    "Year of the figure, where the entry is yearly; the latest on file when omitted.",
    "For yearly entries: which year, four digits. Default is the latest on file.",
    "Four-digit year of a yearly entry. If omitted, the latest on file.",
)
YEAR_NAMES = ("yr", "year", "ref_year", "y")

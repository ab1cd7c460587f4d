"""What surrounds a question: openings, links between sentences, closings. `{}` stands for a noun phrase.

`{o}` is an occupation, `{d}` a document that somebody is working on, `{p}` an invented person who asks.
"""

from __future__ import annotations


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


FIRST = _split(
    "Consider {}.|Take {}.|Start from {}.|Begin with {}.|Think of {}.|We start with {}.|Our starting point is {}.|"
    "This concerns {}.|Picture {}.|Let us look at {}.|My notes begin with {}.|A letter mentions {}.|"
    "Someone asked about {}.|I am curious about {}.|First identify {}.|Everything hinges on {}.|"
    "Suppose we follow {}.|A footnote cites {}.|My {d} opens with {}.|The {o} spoke of {}.|"
    "A postcard shows {}.|Yesterday's {d} praised {}.|Rumour surrounds {}.|Focus on {}.|{p} mentioned {}.|"
    "{p} photographed {}.|{p}, {o}, adores {}.|Chapter one: {}.|{p} sketched {}.|{p} envies {}.|{p}'s {d} features {}.|"
    "Clue one: {}.|{p} dreamt about {}.|{p} recommends {}.|Legend glorifies {}.|{p} criticised {}.|Departure: {}."
)
NEXT = _split(
    "Next comes {}.|From there, go on to {}.|This leads to {}.|Now look at {}.|Then find {}.|The trail goes on to {}.|"
    "After that, turn to {}.|Continue with {}.|Then move on to {}.|That brings us to {}.|Now identify {}.|"
    "The next step is {}.|From here we reach {}.|Onward to {}.|Proceed to {}.|Pursue {}.|Clue two: {}."
)
FRAMES = _split(
    "Find {}.|Please look up {}.|I would like to know {}.|Could you find out {}?|Can you tell me {}?|Determine {}.|"
    "State {}.|Work out {}.|I need {}.|Do you know {}?|Would you look up {}?|For the record, note {}.|"
    "We are missing one detail: {}.|A colleague asked me for {}.|Give me {}.|Report {}.|Identify {}.|"
    "For a quiz I need {}.|Please establish {}.|The editor wants to know {}.|Let me know {}.|Tell us {}.|Fetch {}.|"
    "An exhibition label still lacks {}.|Fill the gap in my table: {}.|Help me find {}.|Could someone check {}?|"
    "What would you record as {}?|Search the registers for {}.|Supply {}.|My only question is {}.|"
    "I have been asked to verify {}.|Kindly provide {}.|Retrieve {}.|The {d} omits {}; please supply it.|"
    "A {o} enquires about {}.|Our {d} needs {}.|Without {} my {d} stays unfinished.|The {o} forgot {}; remind us.|"
    "Trace {} for a {o}.|Two sources disagree on {}: settle it.|Unearth {}.|Pin down {}.|Hunt down {}, please.|"
    "Nobody here remembers {}.|Cite {}.|Read out {}.|Dig up {}.|A smudge hides {} in our {d}.|Confirm {}.|"
    "{p} left a blank for {}.|The {o} bets on knowing {}; check it.|Name {}, if you can.|Ascertain {}.|"
    "Crossword clue: {}.|Missing from the {d}: {}.|Wanted: {}.|{p}, {o}, requests {}.|{p} misremembers {}; help.|"
    "{p}'s {d} misquotes {}; fix it.|{p} offers a reward for {}.|Whisper {} to {p}.|Telegraph {} to {p}, {o}.|"
    "{p} doubts {}; verify.|Inscribe {} on {p}'s {d}.|Quiz card, {p}: {}.|{d} request, {p}: {}."
)
LEADS = _split(
    "According to the records, |Going by the registers, |As far as the archives show, |Quick question: |"
    "For the almanac: |One for the quiz night: |To settle a bet: |Judging by what is on file, |Just checking: |"
    "Before we print this: |In the official records, |By the way, |Fact check: |Out of curiosity, |Urgent: |"
    "A {o} asks: |For the {d}: |{p} wonders: |Overheard, {d} office: |Proofreading a {d}: |{p}, {o}, asks: |"
    "Asked by a {o}: |Puzzle: |Dear archivist, |{d} query: |Homework: |My {d} has a gap: |Riddle: |{p} insists: |"
    "{p} whispered: |{p} bet {p}: |Prompted by a {d}: |Thanks to {p}: "
)
SENDERS = _split(
    "From {p}, {o}: |Telegram, {p}: |Signed {p}: |Dictated by {p}: |Message, {p}, {o}: |{p} telephoned: |{p} again: |"
    "Memo, {p}: |{p} writes: |Note, {p}, {o}: |Letter, {p}: |Voicemail, {p}: |Postcard, {p}: |{p} ({o}): |"
    "Exam, Professor {p}: |Hotline, {p}: |Treasure hunt, {p}: |Seminar, {p}: |{p}, {o}, interrupts: |Trivia, {p}: "
)
BOTH = _split(
    "{0} And {1}|Two things. {0} {2}|{0} Also, {1}|Answer both: {0} {2}|A double question: {0} And {1}|{0} {2}|"
    "{0} On another matter, {1}|{0} Incidentally, {1}|Twins from a {o}: {0} {2}|{p} asks twice: {0} {2}|"
    "{0} Furthermore, {1}|Pair for a {d}: {0} {2}|{0} While we are at it, {1}|First: {0} Second: {2}|"
    "Double trouble, says {p}: {0} {2}"
)
IN_ORDER = _split(
    "Separate the answers with commas.|Comma-separated, please.|Reply with a comma in between.|Use commas.|"
    "Join them by comma.|Commas between answers."
)
APART = _split(
    "Separately, |In a second strand, |Elsewhere, |Independently of that, |On the other side, |Meanwhile, |Besides, "
)
MORE = _split(
    "Which is {more}: {0} or {1}?|Which of the two is {more}, {0} or {1}?|Compare {0} with {1}: which is {more}?|"
    "Set {0} against {1}. Which is {more}?|Between {0} and {1}, which is {more}?|Decide which is {more}: {0}, or {1}.|"
    "Put {0} next to {1} and say which is {more}.|We argued about this: which is {more}, {0} or {1}?|"
    "Settle this for us: which is {more}, {0} or {1}?|Rank {0} and {1}: which is {more}?|"
    "Weigh {0} against {1}; which is {more}?|Which turns out {more}: {0}, or {1}?"
)
BY_NAME = _split("Name the {noun}.|Name that {noun}.|Just name the {noun}.|Reply with the {noun}.|Give the {noun}.")
OCCUPATIONS = _split(
    "beekeeper|notary|locksmith|bookbinder|schoolteacher|ferryman|glazier|midwife|pharmacist|surveyor|typesetter|"
    "watchmaker|veterinarian|gardener|carpenter|tailor|cobbler|plumber|stoker|sexton|falconer|blacksmith|postmaster|"
    "bookkeeper|interpreter|stenographer|gravedigger|miller|brewer|weaver|piano tuner|puppeteer|cooper|tinker|"
    "lighthouse keeper|conservator|guide|translator|novelist|reporter|diver|pensioner|student|clerk|usher|hatter|"
    "choirmaster|optician|florist|baker|butcher|chandler|saddler|printer|playwright|cartoonist|heiress|detective|"
    "widow|godfather|juror|bishop|duchess|stationer|tanner|thatcher|upholsterer|janitor|auctioneer|fencing master"
)
DOCUMENTS = _split(
    "brochure|obituary|calendar|logbook|scrapbook|yearbook|pamphlet|leaflet|handbill|memoir|eulogy|dissertation|"
    "jubilee speech|programme note|board game|travel guide|radio script|tombstone|plaque|poster|newsletter|syllabus|"
    "ledger|chronicle|encyclopedia|screenplay|anthology|inventory|menu card|family tree|timetable|wall map|lecture|"
    "petition|invoice|affidavit|sermon|limerick|sketchbook|treatise|photo album|stamp album|guestbook|editorial|"
    "questionnaire|prospectus|testament|toast|ballad|diploma|bulletin|gazetteer|index card|time capsule|slideshow"
)

"""What surrounds a question: sentences that lead to it, ways to ask for a phrase, ways to join two questions.

`{}` stands for a noun phrase. None of these words occurs in what tools say of themselves.
"""

from __future__ import annotations

FIRST = (
    "Take {}.",
    "Start with {}.",
    "Begin with {}.",
    "Consider {}.",
    "I'm thinking of {}.",
    "This is about {}.",
    "My question is about {}.",
    "I'm interested in {}.",
    "I've been reading about {}.",
    "I'm curious about {}.",
    "I came across {}.",
)
NEXT = (
    "Then take {}.",
    "Now take {}.",
    "Next comes {}.",
    "Then comes {}.",
    "Continue to {}.",
    "Proceed to {}.",
    "Turn to {}.",
    "Move on to {}.",
)
ALSO = ("Also take {}.", "And take {}.", "Then there is {}.", "Besides, there is {}.")
SECOND = ("Secondly, take {}.", "For the second part, take {}.", "Separately, take {}.", "Apart from that, take {}.")
THIRD = ("Thirdly, take {}.", "For the third part, take {}.", "Lastly, take {}.")
FRAMES = (
    "Could you tell me {}?",
    "Do you know {}?",
    "Can you tell me {}?",
    "Would you tell me {}?",
    "May I ask for {}?",
    "What is {}?",
)
BOTH = (
    "{0} And {1}",
    "{0} Also, {1}",
    "I have two questions. {0} {2}",
    "{0} And another thing: {1}",
    "{0} While you are at it, {1}",
    "Two things, please. {0} {2}",
)
IN_ORDER = "Use a comma between them."
WHICH = (
    "Which of the two {more}: {0} or {1}?",
    "Which {more}, {0} or {1}?",
    "{0} or {1}: which of them {more}?",
    "Of these two, {0} and {1}, which {more}?",
)
BY_NAME = ("Please answer with its name.", "The name is enough.", "Just the name, please.", "Name it, please.")
BY_PERSON = ("Please answer with the full name.", "The full name is enough.", "Just the full name, please.")
ROUNDED = "Two decimals, please."
USE = ("Use {}.", "Go by {}.", "I need {}.", "Take {}.", "I mean {}.")
COUNT = ("How many of the {rows} {of} {mark}?", "Of the {rows} {of}, how many {mark}?")
TOTAL = (
    "Of the {rows} {of}, consider only those that {mark}: {total}?",
    "Of the {rows} {of}, take those that {mark}: {total}?",
)
SHARE = (
    "Taking all the {rows} {of} together, what percentage of the {amount} is due to those that {mark}? Two decimals, "
    "please.",
    "Of the {amount} of all the {rows} {of}, what percentage comes from those that {mark}? Two decimals, please.",
)
MOST = (
    "Of the {rows} {of}, take only those that {mark}. Which was the {most}? Name {called}.",
    "Of the {rows} {of}, consider those that {mark}. Which was the {most}? Name {called}.",
)

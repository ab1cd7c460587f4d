"""What surrounds a question: sentences that lead to it, ways to ask for a phrase, ways to join two questions.

`{}` stands for a noun phrase. None of these words occurs in what tools say of themselves.
"""

from __future__ import annotations

STEPS = (
    "Take {}.",
    "Start with {}.",
    "Begin with {}.",
    "Consider {}.",
    "Picture {}.",
    "Look at {}.",
    "Suppose I start from {}.",
    "Our starting point is {}.",
    "Everything begins with {}.",
    "Let's start with {}.",
    "Think of {}.",
    "First of all, think of {}.",
    "As a first step, take {}.",
    "Say we begin with {}.",
    "You could start with {}.",
    "The trail starts with {}.",
    "It starts with {}.",
    "I'm thinking of {}.",
    "This is about {}.",
    "My question is about {}.",
    "I'm interested in {}.",
    "I'm curious about {}.",
    "I have in mind {}.",
    "The thing I know is {}.",
    "In front of me is a note on {}.",
    "On my list is {}.",
    "All I have noted is {}.",
)
REMARKS = (
    "I've been reading about {}.",
    "I've just read about {}.",
    "I came across {}.",
    "I stumbled on {}.",
    "Somebody mentioned {}.",
    "A friend told me about {}.",
    "My neighbour keeps talking about {}.",
    "We were talking about {}.",
    "Yesterday I heard of {}.",
    "You may have heard of {}.",
    "For a friend, I am looking into {}.",
    "My grandmother often spoke of {}.",
    "Our teacher brought up {}.",
    "Last night we discussed {}.",
    "Our guide pointed out {}.",
    "Two days ago I read about {}.",
    "Somewhere I read about {}.",
)
FIRST = (*STEPS, *REMARKS)
AFTER_REMARK = (
    "My question concerns {}.",
    "I'd like to ask about {}.",
    "What I want to know concerns {}.",
    "What interests me is {}.",
    "I want to find out more about {}.",
    "It made me wonder about {}.",
    "That got me thinking about {}.",
    "Now I'm puzzling over {}.",
)
"""What leads on after a remark: an order would not follow from it."""
NEXT = (
    "Then take {}.",
    "Now take {}.",
    "Next comes {}.",
    "Then comes {}.",
    "Continue to {}.",
    "Proceed to {}.",
    "Turn to {}.",
    "Move on to {}.",
    "From there, go to {}.",
    "That brings us to {}.",
    "That leads me to {}.",
    "After that, look at {}.",
    "Now think of {}.",
    "The next step is {}.",
    "Go on to {}.",
    "Carry on with {}.",
    "The path goes on to {}.",
)
ALSO = (
    "Also take {}.",
    "And take {}.",
    "Then there is {}.",
    "Besides, there is {}.",
    "The second thing to consider is {}.",
    "In addition, consider {}.",
)
SECOND = (
    "Secondly, take {}.",
    "For the second part, take {}.",
    "Separately, take {}.",
    "Apart from that, take {}.",
    "Here is my other question, about {}.",
    "Something else interests me: {}.",
    "Now to a different matter: {}.",
)
THIRD = (
    "Thirdly, take {}.",
    "For the third part, take {}.",
    "Lastly, take {}.",
    "One more thing interests me: {}.",
    "The last question concerns {}.",
)
FRAMES = (
    "Could you tell me {}?",
    "Could you find out {}?",
    "Can you tell me {}?",
    "Would you tell me {}?",
    "Would you find out {}?",
    "Will you tell me {}?",
    "Could you look up {}?",
    "Can you find out {}?",
    "Is there a way to find out {}?",
    "Could you kindly tell me {}?",
    "I wonder, could you tell me {}?",
    "Would you please find {}?",
    "Any chance you could tell me {}?",
    "When you have a minute, could you find {}?",
    "Mind telling me {}?",
    "Please help: can you find {}?",
    "Help me out: could you tell me {}?",
)
BOTH = (
    "{0} And {1}",
    "{0} Also, {1}",
    "I have two questions. {0} {2}",
    "{0} And another thing: {1}",
    "{0} While you are at it, {1}",
    "Two things, please. {0} {2}",
    "{0} Next, {1}",
    "Both of these puzzle me. {0} {2}",
    "{0} One thing more: {1}",
    "There are a couple of gaps to fill. {0} {2}",
    "{0} Besides, {1}",
    "Help me with two answers. {0} {2}",
    "Two answers would help me. {0} {2}",
    "A pair of questions. {0} {2}",
    "My list has two gaps. {0} {2}",
    "I was stuck twice. {0} {2}",
)
IN_ORDER = "Use a comma between them."
WHICH = (
    "Which of the two {more}: {0} or {1}?",
    "Which {more}, {0} or {1}?",
    "{0} or {1}: which of them {more}?",
    "Of these two, {0} and {1}, which {more}?",
    "Between {0} and {1}, which one {more}?",
    "Compare {0} with {1}: which {more}?",
    "Take {0} and {1}: which {more}?",
    "If you put {0} beside {1}, which {more}?",
)
BY_NAME = ("Please answer with its name.", "The name is enough.", "Just the name, please.", "Name it, please.")
BY_PERSON = ("Please answer with the full name.", "The full name is enough.", "Just the full name, please.")
ROUNDED = "Round it to two decimals."
USE = (
    "Use {}.",
    "Go by {}.",
    "I need {}.",
    "Take {}.",
    "What I want is {}.",
    "Please rely on {}.",
    "What counts for me is {}.",
    "I'm after {}.",
    "Stick to {}.",
    "Only {} will do.",
    "Base the answer on {}.",
)
APART = ("For this one,", "In this case,", "Here,")
TWO = ("In both cases,", "For both,", "Each time,")
ALL = ("In all cases,", "For all of them,", "Each time,")
PERIOD = ("Count {}.", "By the year I mean {}.", "A year here means {}.")
COUNT = (
    "How many of the {rows} {of} {mark}?",
    "Of the {rows} {of}, how many {mark}?",
    "Take the {rows} {of}: how many {mark}?",
    "Consider the {rows} {of}: how many {mark}?",
    "Among the {rows} {of}, how many {mark}?",
)
TOTAL = (
    "Of the {rows} {of}, consider only those that {mark}: {total}?",
    "Of the {rows} {of}, take those that {mark}: {total}?",
    "Of the {rows} {of}, look only at those that {mark}: {total}?",
    "Of the {rows} {of}, take only those that {mark}: {total}?",
    "Among the {rows} {of}, single out those that {mark}: {total}?",
    "From the {rows} {of}, keep just those that {mark}: {total}?",
)
SHARE = (
    "Consider all the {rows} {of}: what percentage of their {amount} was accounted for by those that {mark}? "
    "Round it to two decimals.",
    "Across all the {rows} {of}, what percentage of their {amount} was accounted for by those that {mark}? "
    "Two decimals will do.",
    "Look at all the {rows} {of}. What percentage of their {amount} was accounted for by those that {mark}? "
    "Round it to two decimals.",
)
MOST = (
    "Of the {rows} {of}, take only those that {mark}. Which was the {most}? Name {called}.",
    "Of the {rows} {of}, consider those that {mark}. Which was the {most}? Name {called}.",
    "Among the {rows} {of}, look at those that {mark}. Which one was the {most}? Name {called}.",
    "From the {rows} {of}, pick those that {mark}. Which of these was the {most}? Name {called}.",
    "Out of the {rows} {of}, select those that {mark}. Which of them was the {most}? Name {called}.",
)
CONTEXTS = (
    "Nobody at our table knew this.",
    "Help me settle a bet.",
    "Is this something you could check?",
    "The library is closed, so I am asking you.",
    "For once I want to be sure.",
    "A colleague needs this before lunch.",
    "Everyone gives me a different answer.",
    "Somebody will ask me about this tomorrow.",
    "Before I print the page, one check.",
    "Online I found nothing that I trust.",
    "Out of plain curiosity.",
    "Sorry for the odd question.",
    "This has been bothering me all week.",
    "We argued about this on the train.",
    "Over coffee somebody raised this.",
    "Two magazines contradict each other here.",
    "A crossword clue led me here.",
    "An old diary hints at this.",
    "It has completely slipped my mind.",
    "Nothing in my scribbles helps.",
    "Grandpa swears that he knows.",
    "While tidying the attic I came upon a riddle.",
    "Tonight's trivia round depends on you.",
    "This came up during a long car ride.",
    "Between us, I have no clue.",
    "I would rather ask twice than be wrong.",
    "The editor keeps pestering me.",
    "I could not find the answer anywhere.",
)
"""Why somebody asks, about anything."""

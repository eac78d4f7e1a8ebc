"""What people ask a personal assistant, and good replies: the tables behind `make_assistant.py`.

A phrase names its values in braces; `POOLS` holds the values, for train and for held-out, which share none. A phrase's
values must all come from the request, so that no reply states what nobody gave.
"""

from dataclasses import dataclass

Topics = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Task:
    """One kind of writing. Of its requests train has all but the last two, and held-out these."""

    name: str
    requests: tuple[str, ...]
    references: tuple[str, ...] = ()
    must: tuple[str, ...] = ()  # words of every request that every reply says, beside the values that all of them name
    topics: dict[str, Topics] | None = None  # by split: what {topic} may be, and replies to each
    lines: bool = False  # replies are lists, a line for each item
    quotable: bool = False  # replies are titles, which may stand in quotation marks
    held_out: bool = False  # never in train, so that held-out tests the skill and not the topic


@dataclass(frozen=True)
class Tool:
    """One tool that can be called. `arguments` are the names of its parameters and where each value comes from."""

    name: str
    arguments: dict[str, str]
    requests: tuple[str, ...]  # as in Task
    held_out: bool = False


TASKS: tuple[Task, ...] = (
    Task(
        "late",
        (
            "Write a text message to {person} that I will be late for {event}.",
            "Text {person} that I am running late for {event}.",
            "Tell {person} in a message that I am late for {event}.",
            "Write {person} a message: I will be late for {event}.",
            "Let {person} know that I'm going to be late for {event}.",
            "I'm on my way to {event} but late. Send {person} a line.",
        ),
        (
            "Hi {person}, I will be late for {event}.",
            "Sorry {person} but I am running late for {event}.",
            "Hello {person}! I am still on the road and will be late for {event}.",
            "I am so sorry {person}. I will be late for {event}.",
        ),
        must=("late",),
    ),
    Task(
        "thanks",
        (
            "Write a thank-you note to {person} for the {gift}.",
            "Thank {person} for the {gift}.",
            "Write a message that thanks {person} for the {gift}.",
            "I want to thank {person} for the {gift}. What do I write?",
            "Help me say thanks to {person} for the {gift}.",
            "Find words of thanks to {person} for the {gift}.",
        ),
        (
            "Thank you so much for the {gift} {person}!",
            "Dear {person}, thank you for the lovely {gift}.",
            "Thank you {person}. The {gift} made me very happy.",
            "Many thanks for the {gift} {person} and see you soon.",
        ),
    ),
    Task(
        "invite",
        (
            "Invite {person} to a {party} on {day}.",
            "Write an invitation for {person} to our {party} on {day}.",
            "Ask {person} to come to a {party} on {day}.",
            "Write a message that invites {person} to a {party} on {day}.",
            "I'd like to have {person} at my {party} on {day}. Write to them.",
            "See if {person} wants to be at the {party} on {day}.",
        ),
        (
            "Hi {person}, would you like to come to a {party} on {day}?",
            "Please join us for a {party} on {day} {person}!",
            "Dear {person}, we are having a {party} on {day}. We would love to see you.",
            "Would you like to join our {party} on {day} {person}?",
        ),
    ),
    Task(
        "favour",
        (
            "Ask {person} whether they can {favour} on {day}.",
            "Write a message to {person} and ask for help: {favour} on {day}.",
            "Ask {person} to {favour} on {day}.",
            "Write to {person} and ask if they could {favour} on {day}.",
            "I need {person} to {favour} on {day}. Write the message.",
            "Find out if {person} has time to {favour} on {day}.",
        ),
        (
            "Could you please {favour} on {day} {person}?",
            "Hi {person}, could you {favour} on {day}?",
            "Hello {person}! Would you have time to {favour} on {day}?",
            "Dear {person}, I need your help. Could you {favour} on {day}?",
        ),
    ),
    Task(
        "congratulate",
        (
            "Congratulate {person} on the new {success}.",
            "Write a note to {person} about the new {success}.",
            "Write a message of congratulation to {person} for the new {success}.",
            "{person} has a new {success}. Write a message.",
            "Find kind words for {person}, who has a new {success}.",
            "Cheer {person} for the new {success}.",
        ),
        (
            "Congratulations on your new {success} {person}!",
            "Dear {person}, I am so happy about your new {success}.",
            "Well done {person}! I am proud of you and your new {success}.",
            "What great news {person}. I wish you all the best with your new {success}.",
        ),
    ),
    Task(
        "apology",
        (
            "Say sorry to {person} for the {thing}.",
            "{person} must know that I am sorry about the {thing}.",
            "Tell {person} that I am sorry about the {thing}.",
            "Write a message to {person} that I am sorry about the {thing}.",
            "I feel sorry for the {thing}. Make up with {person} for me.",
            "Help me say how sorry I am to {person} for the {thing}.",
        ),
        (
            "I am very sorry about the {thing} {person}.",
            "Dear {person}, I am sorry about the {thing}. Please forgive me.",
            "Sorry about the {thing} {person}! It will not happen again.",
            "I feel sorry about the {thing} {person}. I hope you can forgive me.",
        ),
        must=("sorry",),
    ),
    Task(
        "reminder",
        (
            "Write a reminder for me to {chore} on {day}.",
            "Remind me to {chore} on {day}.",
            "I must not forget to {chore} on {day}. Write a reminder.",
            "Write a short note that tells me to {chore} on {day}.",
            "Nudge me to {chore} on {day}.",
            "Put on paper that I have to {chore} on {day}.",
        ),
        (
            "Remember to {chore} on {day}.",
            "Don't forget to {chore} on {day}!",
            "Please remember that you need to {chore} on {day}.",
            "This is your reminder. On {day} you have to {chore}.",
        ),
    ),
    Task(
        "get-well",
        (
            "Wish {person} a quick recovery from the {illness}.",
            "Write a get-well message to {person}, who has a {illness}.",
            "{person} has a {illness}. Write something kind.",
            "Write a kind message to {person}, who is in bed with a {illness}.",
            "Comfort {person}, who has caught a {illness}.",
            "Send good wishes to {person}, who suffers from a {illness}.",
        ),
        (
            "Get well soon {person}!",
            "Dear {person}, I hope that your {illness} is over soon.",
            "I am sorry to hear about your {illness} {person}. Get well soon!",
            "I hope you feel better soon {person} and that the {illness} goes away.",
        ),
    ),
    Task(
        "explain",
        (
            "Explain why {topic}.",
            "Tell me why {topic}.",
            "Why is it that {topic}?",
            "I wonder why {topic}. Explain it.",
            "My child asks why {topic}. What do I say?",
            "What is the reason that {topic}?",
        ),
        topics={
            "train": {
                "bread rises": (
                    "Bread rises because yeast makes gas in the dough.",
                    "Yeast eats the sugar in the dough. It makes gas and the bread rises.",
                ),
                "the sky is blue": (
                    "The sky is blue because air scatters blue light the most.",
                    "Sunlight has many colors. The air scatters blue light more than the others.",
                ),
                "leaves turn red in the fall": (
                    "Leaves turn red because they lose their green color in the fall.",
                    "The green color fades when the days get short. Then we see the red of the leaves.",
                ),
                "ice floats on water": (
                    "Ice floats because it is lighter than the same amount of water.",
                    "Water grows when it freezes. That makes ice lighter and so it floats.",
                ),
                "we yawn": (
                    "We yawn because we are tired or because others yawn.",
                    "A yawn is a deep breath that comes when we are tired.",
                ),
                "cats purr": (
                    "Cats purr because they are happy or want to calm down.",
                    "A cat often purrs when it feels safe. Some cats purr when they are ill.",
                ),
                "onions make us cry": (
                    "Onions make us cry because a gas from them stings our eyes.",
                    "A cut onion sets free a gas. It stings and our eyes make tears.",
                ),
            },
            "heldout": {
                "the sea is salty": (
                    "The sea is salty because rivers carry salt from rocks into it.",
                    "Rain washes salt out of the rocks. Rivers carry it into the sea.",
                ),
                "birds fly south": (
                    "Birds fly south because they find more food where it is warm.",
                    "In winter there is little food here. So birds fly south to warm places.",
                ),
                "iron rusts": (
                    "Iron rusts because it meets water and air.",
                    "Water and air change the iron. The red dust that is left is rust.",
                ),
                "the moon changes its shape": (
                    "The moon seems to change because we see more or less of its bright side.",
                    "The sun lights one half of the moon. We see more or less of that half.",
                ),
                "popcorn pops": (
                    "Popcorn pops because the water inside turns to steam.",
                    "Each kernel holds a little water. It turns to steam and the kernel bursts.",
                ),
            },
        },
    ),
    Task(
        "tip",
        (
            "Give me a tip for {topic}.",
            "How do I get better at {topic}?",
            "I need advice on {topic}.",
            "What helps with {topic}?",
            "Name a good trick for {topic}.",
            "What would you advise for {topic}?",
        ),
        topics={
            "train": {
                "sleeping well": (
                    "Go to bed at the same time every night.",
                    "Keep your bedroom dark and cool. Leave your phone in another room.",
                ),
                "saving money": (
                    "Write down what you spend each day.",
                    "Put some money aside as soon as you are paid. Spend only what is left.",
                ),
                "learning a language": (
                    "Practice a few new words every day.",
                    "Listen to songs in the language. Then sing along with them.",
                ),
                "growing tomatoes": (
                    "Give your tomatoes a lot of sun and water them often.",
                    "Plant your tomatoes in the sun. Water the roots and not the leaves.",
                ),
                "running": (
                    "Start slowly and run a little more each week.",
                    "Wear good shoes. Rest for a day after each run.",
                ),
                "a tidy desk": (
                    "Clear your desk every evening before you stop.",
                    "Keep only what you need on your desk. Put the rest in a drawer.",
                ),
            },
            "heldout": {
                "cooking rice": (
                    "Rinse the rice first and let it rest at the end.",
                    "Use twice as much water as rice. Keep the lid on while it cooks.",
                ),
                "remembering names": (
                    "Say the name aloud when you first hear it.",
                    "Repeat the name at once. Then link it with a picture.",
                ),
                "drinking more water": (
                    "Keep a full bottle of water on your table.",
                    "Drink a glass of water after you get up. Have another one with each meal.",
                ),
                "taking photos": (
                    "Take your photos early in the morning when the light is soft.",
                    "Go closer to take better photos. Hold the camera still.",
                ),
            },
        },
    ),
    Task(
        "pack",
        (
            "What should I pack for {topic}?",
            "Make a packing list for {topic}.",
            "List things to take along for {topic}.",
            "Which things do I need for {topic}?",
            "What belongs in my bag for {topic}?",
            "What must I bring to {topic}?",
        ),
        topics={
            "train": {
                "a weekend at the lake": ("swimsuit", "towel", "sunscreen", "sandals"),
                "a ski trip": ("warm jacket", "gloves", "goggles", "wool socks"),
                "a night in a tent": ("sleeping bag", "lamp", "warm sweater", "matches"),
                "a day in the city": ("comfortable shoes", "map", "water bottle", "umbrella"),
                "a job interview": ("résumé", "pen", "notebook", "clean shirt"),
                "a long flight": ("passport", "headphones", "neck pillow", "book"),
            },
            "heldout": {
                "a hike in the hills": ("boots", "rain jacket", "water bottle", "snacks"),
                "a day at the beach": ("swimsuit", "sun hat", "beach ball", "cold drinks"),
                "a stay in the hospital": ("slippers", "pajamas", "toothbrush", "book"),
                "a bike tour": ("helmet", "pump", "spare tube", "water bottle"),
            },
        },
        lines=True,
    ),
    Task(
        "shopping",
        (
            "What do I need to buy for {topic}?",
            "Make a shopping list for {topic}.",
            "List what goes into {topic}.",
            "Which ingredients do I need for {topic}?",
            "What has to be in the kitchen for {topic}?",
            "What goes on the shopping list for {topic}?",
        ),
        topics={
            "train": {
                "pancakes": ("flour", "milk", "eggs", "butter"),
                "a green salad": ("lettuce", "cucumber", "olive oil", "lemon"),
                "vegetable soup": ("carrots", "onions", "potatoes", "celery"),
                "a cheese sandwich": ("bread", "cheese", "butter", "tomatoes"),
                "an apple pie": ("apples", "flour", "sugar", "butter"),
                "spaghetti": ("spaghetti", "tomatoes", "garlic", "olive oil"),
            },
            "heldout": {
                "tacos": ("tortillas", "beans", "cheese", "salsa"),
                "a fruit salad": ("bananas", "oranges", "grapes", "honey"),
                "fried rice": ("rice", "eggs", "peas", "soy sauce"),
                "hot chocolate": ("milk", "cocoa", "sugar", "cream"),
            },
        },
        lines=True,
    ),
    Task(
        "title",
        (
            "Give me a title for a {work} about {subject}.",
            "Suggest a name for a {work} about {subject}.",
            "What could I call my {work} about {subject}?",
            "Think of a title for my {work} about {subject}.",
            "Find a good name for our {work} about {subject}.",
            "How should we title a {work} about {subject}?",
        ),
        (
            "The Quiet Joy of {Subject}",
            "A Year of {Subject}",
            "All About {Subject}",
            "My Life with {Subject}",
        ),
        quotable=True,
    ),
    Task(
        "polite",
        (
            "Make this more polite: {topic}",
            "Say this in a friendly way: {topic}",
            "Rewrite this politely: {topic}",
            "Put this in kinder words: {topic}",
            "How can I say this nicely? {topic}",
            "Soften this: {topic}",
        ),
        topics={
            "train": {
                "Send me the file.": ("Could you please send me the file?", "Please send me the file when you can."),
                "Be quiet.": ("Could you please be a little quieter?", "Please be a bit more quiet."),
                "Close the window.": ("Would you mind closing the window?", "Please close the window for me."),
                "Give me my book back.": ("Could I please have my book back?", "Please give me my book back."),
                "Move your car.": ("Could you please move your car?", "Please move your car when you have a moment."),
                "Come here now.": ("Could you please come here now?", "Please come here as soon as you can."),
            },
            "heldout": {
                "Pay me back.": ("Could you please pay me back soon?", "Please pay me back when you can."),
                "Turn off that music.": ("Would you mind turning off the music?", "Please turn off the music for me."),
                "Hurry up.": ("Could you please be a little faster?", "Please be quick if you can."),
                "Answer my email.": ("Could you please answer my email?", "Please answer my email when you have time."),
            },
        },
    ),
    Task(
        "decline",
        (
            "Tell {person} that I can't come to {event}.",
            "Turn down the invitation of {person} to {event}.",
        ),
        (
            "I am sorry {person} but I can't come to {event}.",
            "Dear {person}, thank you for asking me to {event}. I am afraid I can't come.",
            "Hi {person}, I can't make it to {event}.",
        ),
        held_out=True,
    ),
    Task(
        "birthday",
        (
            "Wish {person} a happy birthday.",
            "Write a birthday card to {person}.",
        ),
        (
            "Happy birthday {person}!",
            "Dear {person}, I wish you a wonderful birthday.",
            "Happy birthday {person}! I hope that all your wishes come true.",
        ),
        held_out=True,
    ),
    Task(
        "gift-idea",
        (
            "What could I give {person}, who loves {subject}?",
            "I need a present for {person}, who is mad about {subject}.",
        ),
        (
            "Give {person} a beautiful book about {subject}.",
            "A day that is all about {subject} would make {person} happy.",
            "I would give {person} a course on {subject}. It is something to share.",
        ),
        held_out=True,
    ),
)

TOOLS: tuple[Tool, ...] = (
    Tool(
        "set_alarm",
        {"time": "time", "label": "occasion"},
        (
            "Set an alarm for {time} with the label {occasion}.",
            "Wake me at {time}. Label the alarm {occasion}.",
            "I need an alarm at {time} with the label {occasion}.",
            "Please ring at {time}, label {occasion}.",
        ),
    ),
    Tool(
        "start_timer",
        {"minutes": "minutes", "label": "dish"},
        (
            "Start a timer of {minutes} minutes for the {dish}.",
            "Set a timer for the {dish}: {minutes} minutes.",
            "The {dish} needs {minutes} minutes. Start a timer.",
            "Count {minutes} minutes for the {dish}.",
        ),
    ),
    Tool(
        "add_event",
        {"title": "occasion", "day": "day", "time": "time"},
        (
            "Put {occasion} in my calendar on {day} at {time}.",
            "Add {occasion} on {day} at {time} to my calendar.",
            "Write {occasion} into my calendar, {day} at {time}.",
            "I have {occasion} on {day} at {time}, so block that time.",
        ),
    ),
    Tool(
        "send_message",
        {"to": "person", "text": "news"},
        (
            "Message {person} that {news}.",
            "Text {person}: {news}.",
            "Send {person} this message: {news}.",
            "Drop {person} a line: {news}.",
        ),
    ),
    Tool(
        "add_item",
        {"list": "list", "item": "item"},
        (
            "Add {item} to my {list} list.",
            "Put {item} on the {list} list.",
            "Write {item} on my {list} list.",
            "My {list} list still lacks {item}.",
        ),
    ),
    Tool(
        "switch_device",
        {"device": "device", "room": "room", "state": "state"},
        (
            "Turn {state} the {device} in the {room}.",
            "Switch {state} the {device} in the {room}.",
            "Turn the {device} in the {room} {state}.",
            "I want the {device} in the {room} {state}.",
        ),
    ),
    Tool(
        "set_temperature",
        {"room": "room", "degrees": "degrees"},
        (
            "Set the {room} to {degrees} degrees.",
            "Heat the {room} to {degrees} degrees.",
            "Make the {room} {degrees} degrees warm.",
            "I'd like {degrees} degrees in the {room}.",
        ),
    ),
    Tool(
        "get_weather",
        {"place": "place", "day": "day"},
        (
            "What is the weather in {place} on {day}?",
            "Will it rain in {place} on {day}?",
            "Get the weather for {place} on {day}.",
            "Do I need a coat in {place} on {day}?",
        ),
    ),
    Tool(
        "play_music",
        {"genre": "genre", "room": "room"},
        (
            "Play some {genre} in the {room}.",
            "Put on {genre} in the {room}.",
            "I want to hear {genre} in the {room}.",
            "Let the {room} sound with {genre}.",
        ),
    ),
    Tool(
        "book_table",
        {"place": "restaurant", "people": "count", "time": "time"},
        (
            "Book a table at {restaurant} for {count} people at {time}.",
            "We are {count} people. Get us a table at {restaurant} at {time}.",
        ),
        held_out=True,
    ),
    Tool(
        "find_route",
        {"start": "place", "end": "goal"},
        (
            "Find the way from {place} to {goal}.",
            "How do I get from {place} to {goal}?",
        ),
        held_out=True,
    ),
    Tool(
        "order_taxi",
        {"address": "address", "time": "time"},
        (
            "Order a taxi to {address} at {time}.",
            "I need a taxi at {address} at {time}.",
        ),
        held_out=True,
    ),
)

# How an instruction asks for each form: wordings of train, and of held-out.
FORMS: dict[str, dict[str, tuple[str, ...]]] = {
    "one sentence": {
        "train": ("Use one sentence.", "Write one sentence.", "Answer in one sentence."),
        "heldout": ("Say it in one sentence.", "One sentence is enough."),
    },
    "two sentences": {
        "train": ("Use two sentences.", "Write two sentences.", "Answer in two sentences."),
        "heldout": ("Say it in two sentences.", "It should have two sentences."),
    },
    "most words": {
        "train": ("Use at most {n} words.", "Write no more than {n} words.", "Use {n} words or fewer."),
        "heldout": ("Say it in at most {n} words.", "Do not use more than {n} words."),
    },
    "word": {
        "train": ('Use the word "{word}".', 'Include the word "{word}".', 'Write the word "{word}" in it.'),
        "heldout": ('Say the word "{word}".', 'Mention the word "{word}".'),
    },
    "no word": {
        "train": ('Do not use the word "{word}".', 'Leave out the word "{word}".'),
        "heldout": ('Do not say the word "{word}".', 'Avoid the word "{word}".'),
    },
    "no commas": {
        "train": ("Do not use commas.", "Use no commas.", "Write without commas."),
        "heldout": ("Say it without commas.", "Do not write any commas."),
    },
    "begin": {
        "train": ('Begin with "{start}".', 'Start with "{start}".', 'The reply begins with "{start}".'),
        "heldout": ('Start it with "{start}".', 'It begins with "{start}".'),
    },
    "question": {
        "train": ("Make it a question.", "End with a question mark.", "Write it as a question."),
        "heldout": ("Say it as a question.", "Let it end with a question mark."),
    },
    "quoted": {
        "train": ("Put it in double quotation marks.", "Write it in double quotation marks."),
        "heldout": ("Set it in double quotation marks.", "Give it double quotation marks."),
    },
    "lowercase": {
        "train": ("Use only lowercase letters.", "Write everything in lowercase."),
        "heldout": ("Say it in lowercase letters.", "Do not use any capitals, only lowercase letters."),
    },
    "bullets": {
        "train": ("Give {n} bullet points.", "Use {n} bullet points.", "Answer with {n} bullet points."),
        "heldout": ("Say it in {n} bullet points.", "Make {n} bullet points."),
    },
}
NUMBERS = {2: "two", 3: "three", 4: "four"}
# What a request may tell a reply not to say: words that people reach for.
AVOIDED = ("just", "really", "amazing", "very", "great", "important")
# Words that no instruction asks for: they say too little.
COMMON = (
    "about after again also because before could dear does each ever every from give have hello here into just many "
    "more most much need only other over some something than thank thanks that their them then there they this "
    "very want what when where which will with would your yours"
)

# How the tools are told of, in the system message.
TOOL_INTROS = {
    "train": (
        "You call tools for the user. Tools: {tools}. Reply with one call in JSON.",
        "You are an assistant with tools: {tools}. Answer with a call in JSON.",
    ),
    "heldout": (
        "You help by calling tools. The tools are {tools}. Write one call in JSON.",
        "You have these tools: {tools}. Reply only with a call in JSON.",
    ),
}

_SHARED: dict[str, tuple[str, ...]] = {
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "state": ("on", "off"),
}
_TRAIN: dict[str, tuple[str, ...]] = {
    "person": (
        *("Ana", "Tom", "Mia", "Leo", "Ruth", "Omar", "Nina"),
        *("Jack", "Rosa", "Ben", "Clara", "Hugo", "Ivy", "Sam"),
    ),
    "event": ("dinner", "choir", "the meeting", "the movie", "breakfast", "the game"),
    "gift": ("tomatoes", "flowers", "blue scarf", "chocolate box", "old photo", "tea cups"),
    "party": ("picnic", "garden party", "barbecue", "movie night", "potluck"),
    "favour": ("feed the cat", "water the ferns", "fix my bike", "lend me a ladder", "pick up a parcel"),
    "success": ("job", "house", "baby sister", "record", "bakery"),
    "thing": ("umbrella", "broken vase", "library book", "lost key", "cold soup"),
    "chore": ("call the dentist", "pay the rent", "wash the car", "buy stamps", "clean the oven", "renew my passport"),
    "illness": ("cold", "fever", "sore throat", "broken arm"),
    "work": ("photo album", "podcast", "short story", "blog"),
    "subject": ("gardens", "trains", "cooking", "old maps", "dogs", "winter walks"),
    "occasion": ("gym", "piano lesson", "school run", "team lunch", "haircut", "book club", "swim", "yoga"),
    "dish": ("stew", "bread", "eggs", "soup", "lasagna", "tea"),
    "news": ("lunch is ready", "the train is late", "I found the keys", "we won the game", "the shop is closed"),
    "list": ("shopping", "party", "camping", "gift"),
    "item": ("oat milk", "candles", "batteries", "honey", "paper plates", "soap", "lemons"),
    "device": ("lamp", "fan", "radio", "heater"),
    "room": ("hall", "kitchen", "bedroom", "bathroom", "office"),
    "place": ("Lisbon", "Oslo", "Chicago", "Nairobi", "Kyoto", "Dublin"),
    "genre": ("jazz", "piano music", "blues", "folk songs", "salsa"),
}
_HELD_OUT: dict[str, tuple[str, ...]] = {
    "person": ("Eva", "Max", "Lily", "Paul", "Zoe", "Amir", "Kate", "Felix", "Grace", "Noah"),
    "event": ("lunch", "practice", "the wedding", "the concert", "the class"),
    "gift": ("red gloves", "apple jam", "cookbook", "wooden box", "roses"),
    "party": ("dance", "brunch", "bonfire", "game night"),
    "favour": ("walk the dog", "carry a sofa", "check my essay", "bring a tent"),
    "success": ("car", "puppy", "school", "apartment"),
    "thing": ("torn jacket", "missed call", "spilled coffee", "late letter"),
    "chore": ("book a flight", "iron the shirts", "mow the lawn", "send the letter", "sweep the stairs"),
    "illness": ("cough", "headache", "stomach ache", "twisted ankle"),
    "work": ("video", "poem", "newsletter", "song"),
    "subject": ("birds", "islands", "bicycles", "baking", "stars"),
    "occasion": ("dance class", "vet visit", "job interview", "chess club", "bus trip", "run"),
    "dish": ("pasta", "cake", "beans", "potatoes"),
    "news": ("dinner is cold", "the bus broke down", "I have the tickets", "the baby is asleep"),
    "list": ("hardware", "picnic", "cleaning", "school"),
    "item": ("nails", "orange juice", "sponges", "crayons", "cheese"),
    "device": ("oven", "television", "humidifier"),
    "room": ("attic", "garage", "nursery", "den"),
    "place": ("Madrid", "Boston", "Hanoi", "Prague"),
    "goal": ("the airport", "the old harbor", "Green Street", "the city zoo"),
    "genre": ("rock", "opera", "reggae", "drum music"),
    "restaurant": ("Luna", "The Fig Tree", "Blue Door", "Casa Pepe"),
    "address": ("12 Hill Road", "7 Park Lane", "30 Lake Street"),
}
POOLS: dict[str, dict[str, tuple[str, ...]]] = {"train": _TRAIN | _SHARED, "heldout": _HELD_OUT | _SHARED}

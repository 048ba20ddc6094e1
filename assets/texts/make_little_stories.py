"""Write thousands of little stories with a story grammar.

A story grammar is a set of plots with holes in them. Each plot knows what must happen, and in what order;
chance decides who it happens to, where, with which things, and in which words. The stories use few
different words, so that a very small language model can learn to write them well.

Two things in them are made for looking inside such a model. Most names are invented afresh for one story
("Tamulo", "Zobrika"), and many stories hold something that must be repeated exactly: a secret word, a
shopping list, a song, the number on a door. Nobody can know these in advance. A reader, or a model, that
meets one of them for the second time can get it right only by looking back and copying.

    python make_little_stories.py --seed 7 --bytes 1200000 --out little_stories.txt
"""

import argparse
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# ---------------------------------------------------------------------------------------------------------
# The material: sounds for invented names, and the ordinary things of the little world.
# ---------------------------------------------------------------------------------------------------------

ONSETS = "b d f g h j k l m n p r s t v w y z b d f g k l m n p r s t br dr fl gr kl sk st th tr".split()
VOWELS = "a e i o u a e i o u a e i o u ai ee oo".split()
CODAS = "n r l s k m n r l s sh x nd".split()
LETTERS = "bcdfghjklmnpqrstvwxyz"

# Random syllables sometimes make a word that nobody wants in a story for children.
UNWANTED = """
    abo ass bit bla bra bum cok cox cum dam ded dic dik die dum dyk fag fat fuk gay gip gor hel hit
    hom hor jap jer jew kak kil kok kuk kum kun lam les mon naz neg nig nud pee pen pis poo por pub
    puk put rap ret sex sod spi suk tar tit tur vag wan wee
    """.split()

GIRLS = "Anna Mia Rosa Lucy Ella Nora Ida Clara Emma Ruth Lena May".split()
BOYS = "Tom Ben Jack Max Leo Finn Sam Oscar Paul Hugo Adam Will".split()

ADULTS = (
    "baker miller farmer sailor weaver shepherd gardener teacher smith painter tailor cook potter beekeeper"
).split()
ANIMALS = "fox hare mouse bear otter crow duck goat hen owl frog hedgehog squirrel badger goose cat".split()
ADULT_MOODS = "old kind quiet cheerful busy clever tall gentle friendly patient funny young".split()
YOUNG_MOODS = "small young shy brave kind quiet clever cheerful curious friendly funny lively".split()

COLOURS = "red blue green yellow white black brown pink grey gold silver purple orange".split()
FOODS = (
    "bread milk honey butter cheese carrots onions salt flour plums beans pears rice nuts peas jam".split()
)
THINGS = (
    "ring cup rope spoon candle button book bell feather shell brush box basket mirror needle whistle drum "
    "hat coin ribbon stone lamp key comb bottle"
).split()
SMALL_THINGS = "ring coin button key bell whistle comb spoon shell thimble".split()
ONES = "one two three four five six seven eight nine".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
SPOTS = (
    "under the bed",
    "behind the clock",
    "in the blue jar",
    "in the bread basket",
    "under the old chair",
    "on the top shelf",
    "in the left boot",
    "behind the door",
    "in the coat pocket",
    "under the white stone",
    "in the big pot",
    "between two books",
    "beside the stove",
    "in the wooden box",
)
HOMES = (
    "near the sea",
    "by a slow river",
    "at the end of a long road",
    "beside a dark wood",
    "under an old oak",
    "on a green hill",
    "behind the old mill",
    "in a house full of books",
    "in the little town of {P}",
    "in the village of {P}",
)


@dataclass(frozen=True)
class Character:
    """Somebody in a story: a name, what they are, and the right pronouns."""

    name: str
    kind: str
    mood: str
    female: bool

    def __str__(self) -> str:
        return self.name

    @property
    def who(self) -> str:
        """What they are, such as `a shy hare`."""
        return f"a {self.mood} {self.kind}"

    @property
    def he(self) -> str:
        return "she" if self.female else "he"

    @property
    def him(self) -> str:
        return "her" if self.female else "him"

    @property
    def his(self) -> str:
        return "her" if self.female else "his"

    @property
    def He(self) -> str:
        """`he` or `she` at the beginning of a sentence."""
        return self.he.capitalize()

    @property
    def His(self) -> str:
        return self.his.capitalize()


class Slots(dict[str, object]):
    """The filled holes of one story. `{Spot}` is the same as `{spot}` with a capital letter."""

    def __missing__(self, key: str) -> object:
        text = str(self[key[0].lower() + key[1:]])
        return text[0].upper() + text[1:]


class Inventor:
    """Makes up names and words, never gives the same name to two stories, and remembers real words."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.used: set[str] = set()
        self.heard: dict[str, None] = {}  # the real words of all stories so far, each once
        # An invented word must not be a real one, and all real words of the stories stand in this file.
        self.ordinary = set(re.findall("[a-z]+", Path(__file__).read_text(encoding="utf-8").lower()))

    def allowed(self, word: str) -> bool:
        """Whether a word is new and nobody minds reading it."""
        return word not in self.ordinary and not any(part in word for part in UNWANTED)

    def syllables(self, count: int) -> str:
        """A pronounceable string of random syllables, in small letters."""
        while True:
            word = ""
            for place in range(count):
                # A few names begin with a vowel; inside a word a consonant keeps the vowels apart.
                if place > 0 or self.rng.random() < 0.9:
                    word += self.rng.choice(ONSETS)
                word += self.rng.choice(VOWELS)
                if self.rng.random() < (0.35 if place == count - 1 else 0.12):
                    word += self.rng.choice(CODAS)
            if 3 <= len(word) <= 8 and self.allowed(word):
                return word

    def name(self) -> str:
        """A new name such as Tamulo: two or three syllables, seldom four, used in one story only."""
        while True:
            name = self.syllables(self.rng.choices((2, 3, 4), (60, 37, 3))[0]).capitalize()
            if name not in self.used:
                self.used.add(name)
                return name

    def nonsense(self) -> str:
        """A word that means nothing: some are easy to say, some are just letters."""
        if self.rng.random() < 0.8:
            return self.syllables(self.rng.choice((1, 1, 2)))
        while True:
            word = "".join(self.rng.choice(part) for part in (LETTERS, "aeiou", LETTERS))
            if self.allowed(word):
                return word

    def listen(self, story: str) -> None:
        """Remember the real words of a finished story; its invented ones belong to it alone."""
        self.heard |= {word: None for word in re.findall("[a-z]+", story) if word in self.ordinary}

    def real_word(self) -> str:
        """Any word of the stories told so far, rare or not; an invented one before the first story."""
        return self.rng.choice(list(self.heard)) if self.heard else self.nonsense()


class Tale:
    """One story while it is being told: who is in it, what is known so far, and the text."""

    def __init__(self, rng: random.Random, inventor: Inventor) -> None:
        self.rng = rng
        self.inventor = inventor
        self.slots = Slots()
        self.parts: list[str] = []

    # Choosing -----------------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        """Toss a coin that shows heads with this probability."""
        return self.rng.random() < probability

    def pick(self, choices: Sequence[str]) -> str:
        """One thing from a list, each equally likely."""
        return self.rng.choice(choices)

    def some(self, choices: Sequence[str], count: int) -> list[str]:
        """Different things from a list, in random order."""
        return self.rng.sample(choices, count)

    def put(self, **slots: object) -> None:
        """Fill holes: after put(thing="cup"), every {thing} in this story is the cup."""
        self.slots.update(slots)

    # Inventing ----------------------------------------------------------------------------------------

    def cast(self, key: str, *groups: str) -> Character:
        """Bring somebody into the story; `groups` are of "child", "adult" and "animal"."""
        group = self.pick(groups or ("child", "adult", "animal"))
        taken = [person for person in self.slots.values() if isinstance(person, Character)]
        # The hero has most often an invented name, the others have one almost every second time.
        if self.chance(0.85 if not taken else 0.45):
            name = self.inventor.name()
            # Like many real names, those on -a belong to girls and those on -o to boys.
            female = {"a": True, "o": False}.get(name[-1], self.chance(0.5))
        else:
            female = self.chance(0.5)
            given = GIRLS if female else BOYS
            name = self.pick([name for name in given if name not in [person.name for person in taken]])
        if group == "child":
            kind = "girl" if female else "boy"
        else:
            kinds = ADULTS if group == "adult" else ANIMALS
            kind = self.pick([kind for kind in kinds if kind not in [person.kind for person in taken]])
        mood = self.pick(ADULT_MOODS if group == "adult" else YOUNG_MOODS)
        person = Character(name, kind, mood, female)
        self.slots[key] = person
        return person

    def name(self) -> str:
        """A new name for somebody, a place, a boat or a star."""
        return self.inventor.name()

    def nonsense(self) -> str:
        """A word that means nothing."""
        return self.inventor.nonsense()

    def secret(self) -> str:
        """Something short that only a good memory can say twice."""
        form = self.rng.randrange(5)
        if form == 0:
            return f"{self.pick(COLOURS)} {self.pick(ANIMALS + THINGS + FOODS)}"
        if form == 1:
            return f"{self.pick(THINGS)} {self.pick(ANIMALS)} {self.pick(FOODS)}"
        return " ".join(self.nonsense() for _ in range(form - 1))

    def verse(self) -> str:
        """A line of words in no order: a short one is said several times over, a long one only once.

        The words are invented, or picked from all the words there are, or some of each.
        """
        real = self.rng.choice((0.0, 1.0, 1.0))
        words = [
            self.inventor.real_word() if self.chance(real) else self.nonsense()
            for _ in range(self.rng.randint(2, 12))
        ]
        line = " ".join(words)
        return ", ".join([line] * self.rng.randint(1, max(1, 12 // len(words))))

    def song(self) -> str:
        """A line of nonsense that can be sung, often with a word that comes back."""
        first, second, third, fourth = (self.nonsense() for _ in range(4))
        return self.pick(
            (
                f"{first} {second}, {first} {third}",
                f"{first}, {first}, {second} and {third}",
                f"{first} {second} {third} {fourth}",
                f"{first} and {second}, {third} and {first}",
            )
        )

    def number(self) -> str:
        """A whole number from two to ninety-nine, in words."""
        value = self.rng.randrange(2, 100)
        if value < 10:
            return ONES[value - 1]
        if value < 20:
            return TEENS[value - 10]
        ten, one = divmod(value, 10)
        return TENS[ten - 2] + (f"-{ONES[one - 1]}" if one else "")

    # Telling ------------------------------------------------------------------------------------------

    def say(self, *ways: str) -> None:
        """Say something in one of several ways: choose each [this|that], and fill the {holes}."""
        self.parts.append(choose_alternatives(self.pick(ways), self.rng).format_map(self.slots))

    def extra(self, *ways: str) -> None:
        """Say something that the story can do without: it is left out more often than not."""
        if self.chance(0.4):
            self.say(*ways)

    def meet(self, key: str, home: bool = True) -> None:
        """Open the story by saying who it is about, and often where they live."""
        a, who = f"{{{key}}}", f"{{{key}.who}}"
        if not home or self.chance(0.35):
            self.say(
                f"{a} was {who}.",
                f"There was once {who} called {a}.",
                f"Once there was {who} named {a}.",
                f"This is the story of {a}, {who}.",
                f"My grandmother knew {who} named {a}.",
                f"Long ago there was {who} called {a}.",
                f"Everyone liked {a}, {who}.",
            )
            return
        place = self.pick(HOMES)
        if "{P}" in place:
            self.put(P=self.name())
        self.say(
            f"{a} was {who} who lived {place}.",
            f"{a}, {who}, lived {place}.",
            f"Once upon a time, {who} named {a} lived {place}.",
            f"There was once {who} called {a} who lived {place}.",
            f"{place}, there lived {who} named {a}.",
            f"Long ago, {who} named {a} lived {place}.",
            f"{a} was {who} and lived {place}.",
            f"This is the story of {a}, {who} who lived {place}.",
        )

    def turn(self) -> None:
        """Begin the second paragraph of the story, in some stories."""
        if self.chance(0.4):
            self.parts.append("\n")

    def end(self, *more: str, strangers: bool = False) -> None:
        """Close the story, sometimes with a last sentence that fits any happy end.

        `strangers` says that A and B met in this story, so that they can become friends now.
        """
        if "P" in self.slots:
            self.say(
                "Soon everyone in {P} knew the story.",
                "They still tell this story in {P}.",
                "In {P} they talked about it for weeks.",
                "And all of {P} was glad.",
            )
        elif self.chance(0.2):
            endings = [
                *more,
                "{A} never forgot that day.",
                "It was a good day for {A}.",
                "And {A} was happy.",
                "So it all ended well.",
                "{A} told it to everyone.",
                "{A} liked to tell this story.",
            ]
            if strangers:
                endings += [
                    "From that day on, {A} and {B} were good friends.",
                    "{A} gave {B} a big hug.",
                    '"Come again, {A}," said {B}.',
                ]
            self.say(*endings)

    def text(self) -> str:
        """The finished story, with capital letters and `a` or `an` where they belong."""
        story = " ".join(self.parts).replace(" \n ", "\n")
        story = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", story)
        # A sentence begins at the start and after a full stop; what is spoken has its capitals already.
        return re.sub(r"(^|\n|[.!?] |[.]\" )([a-z])", lambda found: found[1] + found[2].upper(), story)


def choose_alternatives(template: str, rng: random.Random) -> str:
    """Replace every [this|that] with one of its alternatives; they may lie inside one another."""
    innermost = re.compile(r"\[([^\[\]]*)\]")
    while "[" in template:
        template = innermost.sub(lambda found: rng.choice(found[1].split("|")), template)
    return template


def listing(items: Sequence[str]) -> str:
    """A list as one writes it: `bread, milk and honey`."""
    return ", ".join(items[:-1]) + " and " + items[-1]


# ---------------------------------------------------------------------------------------------------------
# The plots. Each one is a function that tells one kind of story; every `say` is a sentence or two, in one
# of the ways that are given.
# ---------------------------------------------------------------------------------------------------------


def lost_thing(t: Tale) -> None:
    """Somebody cannot find a thing, and remembers where it was put."""
    t.cast("A")
    t.cast("B")
    spot, wrong, other = t.some(SPOTS, 3)
    t.put(thing=t.pick(SMALL_THINGS), colour=t.pick(COLOURS), spot=spot, wrong=wrong, other=other)
    t.meet("A")
    t.say("[Every evening|Each night|Before bed] {A} put {A.his} {colour} {thing} {spot}.")
    t.say(
        "But one morning {A.he} could not find it.",
        "One day {A.he} wanted the {thing} but forgot where it was.",
        'One morning {A.he} said, ["Where is my {thing}?"|"My {thing} is gone!"]',
    )
    t.say("{A.He} looked {wrong}. {A.He} looked {other}. [No {thing}!|It was not there.|Nothing!]")
    t.turn()
    t.say(
        '"Think, {A}," said {B}. "Where do you put it at night?"',
        '"Where is it every evening?" asked {B}.',
        'Then {B} came by. "Where did you see it last, {A}?"',
    )
    t.say('"{Spot}!" cried {A}.', '"Oh! {Spot}," said {A}.', '{A} began to smile. "{Spot}!"')
    t.say(
        "And there was the {colour} {thing}.",
        "{A.He} ran, and there it was.",
        "{B} looked {spot} and held up the {colour} {thing}.",
    )
    t.end('"Thank you, {B}," said {A}.')


def lent_thing(t: Tale) -> None:
    """A neighbour lends the very thing that is needed, and gets it back."""
    t.cast("A", "child", "adult")
    t.cast("B", "adult", "animal")
    thing, trouble, use, place = t.rng.choice(
        (
            (
                "lantern",
                "[One evening|One night] {A} had to walk to {Q}, but [the road was dark|there was no moon].",
                "The lantern [lit up every stone|shone on the road], and {A} did not [fall|lose the way].",
                "on its nail",
            ),
            (
                "umbrella",
                "One [morning|day] {A} wanted to visit {Q}, but [it was raining|the rain fell and fell].",
                "The rain did not stop, but under the umbrella {A} [stayed dry|was warm and dry].",
                "behind the door",
            ),
            (
                "ladder",
                "One day {A} wanted to pick apples in {Q}, but [the tree was tall|they hung too high].",
                "{A} climbed the ladder, and soon [the basket was full|every red apple was picked].",
                "in the barn",
            ),
            (
                "sledge",
                "[One winter day|One cold morning] {A} had to bring wood from {Q}, but the snow was deep.",
                "The sledge ran [well|fast] over the snow, and {A} brought all the wood home.",
                "beside the stable",
            ),
            (
                "boat",
                "[One day|One fine morning] {A} had to cross the river to {Q}, but there was no bridge.",
                "{A} rowed the boat [slowly|with care] and came safely to the other side.",
                "under the old tree",
            ),
        )
    )
    t.put(thing=thing, Q=t.name(), place=place)
    t.meet("A")
    t.say(trouble)
    t.say(
        '"Take my {thing}, {A}," said {B} the {B.kind}. "But bring it back."',
        '"I can lend you my {thing}," said {B}, {B.who}. "Bring it back tomorrow."',
        '"Here is my {thing}," said the {B.kind} next door, whose name was {B}. "It is old, but it is good."',
    )
    t.say(use)
    t.turn()
    t.say(
        "[The next day|In the morning|Later] {A} [went to {B}|knocked at the door of {B}] with the {thing}."
    )
    t.say('"Thank you, {B}," said {A}.', '"Here is your {thing}, {B}."', '"You helped me so much," said {A}.')
    t.say("{B} put the {thing} back {place}.", "Soon the {thing} was {place} again.")
    t.end(strangers=True)


def password(t: Tale) -> None:
    """A door opens only for those who know the password."""
    t.cast("A", "child", "animal")
    t.cast("B", "adult", "animal")
    t.cast("C", "adult", "animal")
    t.put(word=t.secret(), inside=t.pick(("garden", "library", "tower", "cave", "castle")))
    t.put(
        wonder=t.pick(
            ("a room full of candles", "a silver tree", "a table full of cakes", "a tiny blue horse")
        )
    )
    t.meet("A")
    t.say(
        "{A.He} [wanted|wished] to see [the old|the secret] {inside}, but {B} [sat before|guarded] the door."
    )
    t.say('"Do you know the password?" asked {B}.', '"No password, no way in," said {B}.')
    t.say("So {A} [went to|ran to|asked] {C} the {C.kind}.")
    t.say(
        '"The password is {word}," [whispered|said] {C}.',
        '"Listen well," said {C}. "The password is {word}."',
        '{C} looked around. Then {C.he} whispered, "The password is {word}."',
    )
    t.turn()
    t.say(
        '{A} ran back to {B}. "The password is {word}," {A.he} said.',
        'All the way back {A} thought of it. "It is {word}," {A.he} told {B}.',
        '"Well?" asked {B}. "It is {word}," said {A}.',
    )
    t.say(
        "[Slowly the|The] door opened, and [inside was {wonder}|there {A} saw {wonder}].",
        "{B} opened the door, and behind it was {wonder}.",
    )
    t.end(strangers=True)


def shopping(t: Tale) -> None:
    """A list is learned by heart at home and said again at the market."""
    t.cast("A", "child", "animal")
    t.cast("B", "adult", "animal")
    t.put(list=listing(t.some(FOODS, t.rng.choice((3, 3, 4, 4, 5)))), parent=t.pick(("mother", "father")))
    t.meet("A")
    t.say(
        '"{A}," said {A.his} {parent}, "please buy {list}."',
        'One morning {A.his} {parent} said, "We need {list}."',
        'The kitchen was empty. "{A}, bring us {list}," said {A.his} {parent}.',
    )
    t.extra(
        "{A} had no paper, so {A.he} said it again and again on the way.",
        "On the way {A.he} met a big dog and almost forgot it all.",
        "{A} took the basket and walked to the market.",
        "A duck crossed the road, and {A} stopped to look, but {A.he} did not forget.",
        "It was a long way to the shop.",
    )
    t.turn()
    t.say(
        '"What do you need, {A}?" asked {B} in the shop.',
        '"Good morning, {A}," said {B}, who kept the shop.',
        'At the market stood {B}. "What shall it be, {A}?"',
    )
    t.say(
        '"We need {list}," said {A}.',
        '"Please give me {list}," said {A}.',
        '"Today I want {list}," said {A}.',
    )
    t.extra("{B} smiled and filled the basket.", "Soon the basket was full and heavy.")
    t.say(
        '"You forgot nothing!" said {A.his} {parent} at home.',
        "{A.His} {parent} was very proud.",
        'At home {A.his} {parent} counted: {list}. "Well done!"',
    )
    t.end(strangers=True)


def song_home(t: Tale) -> None:
    """Somebody lost in the wood hears a song they know."""
    t.cast("A", "child", "animal")
    t.cast("B")
    t.put(song=t.song(), what=t.pick(("mushrooms", "berries", "nuts", "flowers")))
    t.meet("A")
    t.say('[Every evening|Each night] {A.his} [dear|good|old] friend {B} sang the same song: "{Song}."')
    t.say("One day {A} went into the wood to pick {what} and [lost the way|could not find the way back].")
    t.extra(
        "The trees were tall and dark.", "{A.He} sat down and cried a little.", "Every tree looked the same."
    )
    t.turn()
    t.say(
        'Then, far away, somebody sang, "{Song}."',
        'But listen! "{Song}," sang a voice.',
        'Suddenly {A.he} heard it: "{Song}."',
    )
    t.extra('"That is {B}!" cried {A}.', "{A} knew that voice. It was {B}!", '"{B}! I am here!" called {A}.')
    t.say("{A.He} ran to the sound, and there [stood {B} with a lantern|was {B} with a warm coat].")
    t.extra(
        "They went home and ate the {what}.",
        "All the way home they sang together.",
        "Hand in hand they carried the {what} home.",
    )
    t.end()


def message(t: Tale) -> None:
    """A message is carried from one to another, word by word."""
    t.cast("A", "child", "animal")
    t.cast("B", "adult", "animal")
    t.cast("C", "adult", "animal")
    t.put(
        news=t.pick(
            (
                f"the {t.pick(COLOURS)} {t.pick(ANIMALS)} is {t.pick(SPOTS)}",
                f"bring {t.number()} {t.pick(COLOURS)} candles to {t.name()}",
                f"{t.nonsense()} comes before {t.nonsense()}",
                f"the {t.pick(COLOURS)} {t.pick(THINGS)} is ready, but the {t.pick(THINGS)} is not",
                f"the {t.pick(ANIMALS)} eats only {t.pick(FOODS)}",
                f"look for {t.name()} at door {t.number()}",
                f"do not give {t.pick(FOODS)} to the {t.pick(COLOURS)} {t.pick(ANIMALS)}",
            )
        )
    )
    t.meet("A")
    t.say(
        'One day {B} gave {A.him} a message for {C}: "{News}."',
        '{B} the {B.kind} called {A.him}. "Run to {C} and say this. {News}."',
        '"{A}," said {B}, "please tell this to {C}. {News}."',
    )
    t.extra(
        "{A} did not understand it, but {A.he} ran.",
        "It sounded strange, but {A} went at once.",
        "{A} ran over the bridge and up the hill.",
        "The wind blew hard, but {A} did not stop.",
        "{A} said the words again and again.",
    )
    t.turn()
    t.say(
        '"What does {B} say?" asked {C}.',
        '{C} the {C.kind} opened the door. "Well, {A}?"',
        '{C} was at home. "Is there news from {B}?"',
    )
    t.say('"{News}," said {A}.', '{A} said every word: "{News}."')
    t.extra(
        '{C} laughed. "At last!"',
        '"Good! Then all is well," said {C}.',
        '{C} thought for a moment. "Now I understand," {C.he} said.',
        "{C} gave {A.him} a sweet plum for the way back.",
    )
    t.end()


def house_number(t: Tale) -> None:
    """A visitor must remember the number on a door."""
    t.cast("A")
    t.cast("B")
    right, wrong = t.number(), t.number()
    while right == wrong:
        wrong = t.number()
    t.put(
        right=right,
        wrong=wrong,
        colour=t.pick(COLOURS),
        Q=t.name(),
        gift=t.pick(("cake", "plum tart", "pie")),
    )
    t.meet("A", home=False)
    t.say(
        '"Visit me!" wrote {A.his} friend {B}. "I live in {Q} Street, at number {right}."',
        "{A.His} friend {B} had a new house in {Q} Street. It was number {right}.",
        'One day {B} said, "Come to {Q} Street, {A}. Look for number {right}."',
    )
    t.say("[On Sunday|The next day|One fine morning] {A} took a {gift} and went to {Q} Street.")
    t.say(
        '{A.He} knocked at number {wrong}. "No," said an old man, "{B} does not live here."',
        "First {A.he} came to number {wrong}. That was wrong.",
        "There were so many doors! Number {wrong} was not the one.",
    )
    t.turn()
    t.say(
        "At last {A} found number {right}.",
        "{A} walked on to number {right}.",
        "Then {A} saw a {colour} door with the number {right}.",
    )
    t.say('"{A}!" cried {B}. "Come in!"', "{B} opened the door and smiled.", "There was {B} at the window!")
    t.extra("They ate the {gift} together.", "They talked until evening.", "{B} put the {gift} on the table.")
    t.end()


def boat(t: Tale) -> None:
    """A boat gets a hole, somebody helps to mend it, and it sails."""
    t.cast("A")
    t.cast("B", "adult", "animal")
    t.put(
        boat=t.name(), colour=t.pick(COLOURS), mend=t.pick(("wax", "a board", "a piece of cloth")), Q=t.name()
    )
    t.meet("A", home=False)
    t.say("{A.He} had a [little|small] {colour} boat, and its name was the {boat}.")
    t.say("One [morning|day] {A} wanted to sail to {Q}, but there was a hole in the {boat}.")
    t.say("Water came in.", "The floor was wet.", "It was full of water.")
    t.extra('"Oh no!" said {A}.', "{A} sat down on the sand and was sad.", '"Now I cannot go," said {A}.')
    t.turn()
    t.say("{B} the {B.kind} [saw this|came by|heard it] and brought {mend}.")
    t.say('"We can mend it," {B.he} said.', '"This will help, {A}."', "Together they closed the hole.")
    t.say(
        "[All day they worked.|They worked until noon.|It took a long time.] [At last|Then] the {boat} was "
        "[dry|as good as new|ready]."
    )
    t.say(
        "{A} and {B} sailed to {Q} together.",
        "The wind was good, and the {boat} sailed to {Q}.",
        '"Come with me, {B}!" said {A}, and they sailed to {Q}.',
    )
    t.end(strangers=True)


def wet_letter(t: Tale) -> None:
    """Rain falls on something made of paper, and a fire dries it."""
    t.cast("A", "child", "adult")
    t.cast("B")
    t.cast("C")
    t.put(thing=t.pick(("letter", "map", "picture", "book")), fire=t.pick(("fire", "stove", "oven")))
    t.meet("A")
    t.say("[One day|One morning|One afternoon] {A} [wanted to take|was on the way with] a {thing} to {C}.")
    t.say("[Dark clouds came|The sky grew dark|The wind began to blow], and it began to rain.")
    t.say(
        'Soon the {thing} was wet. [{A} began to run.|"Oh no!" cried {A}.|"{C} will be sad," {A.he} thought.]'
    )
    t.say('{B}, {B.who}, [opened the door|called from a window|saw {A.him}]. "Come in and get dry, {A}!"')
    t.turn()
    t.say(
        "{B} laid the {thing} beside the {fire}.",
        "They hung the {thing} over the {fire}.",
        "The {fire} was warm, and {B} put the {thing} near it.",
    )
    t.extra("They waited and drank tea.", "The rain fell on the roof.", "Outside it rained and rained.")
    t.say("When the rain stopped, the {thing} was dry, and {A} [ran to {C}|brought it to {C}].")
    t.say(
        '"What a fine {thing}!" said {C}.', '"It is still warm," said {C}, and laughed.', "{C} was so happy."
    )
    t.end(strangers=True)


def chest(t: Tale) -> None:
    """A chest opens when the coloured buttons are pressed in the right order."""
    t.cast("A", "child", "animal")
    t.cast("B", "child", "animal")
    t.put(order=listing(t.some(COLOURS, t.rng.choice((3, 4, 4, 5)))))
    t.put(where=t.pick(("in the cellar", "in the attic", "under the stairs")))
    t.put(
        inside=t.pick(
            ("a silver flute", "a very old map", "a music box", "a wooden horse", "a book of stars")
        )
    )
    t.meet("A")
    t.say("One [rainy |]day {A} and {A.his} friend {B} found [an iron|a heavy|an old] chest {where}.")
    t.say("It had buttons of every colour.", "On it were many coloured buttons.")
    t.say("[On the bottom|On the back|Under the dust] somebody had written: {order}.")
    t.extra(
        '"Let me try," said {B}, but {B.he} pressed only one button, and nothing happened.',
        '"What does it mean?" asked {B}.',
        "{A} read it twice.",
        "They thought about it for a long time.",
    )
    t.turn()
    t.say(
        '"We must press {order}!" said {A}.',
        "So {A} pressed {order}.",
        '"Look, it means {order}," said {A}, and pressed.',
        "Slowly, {B} pressed {order}.",
    )
    t.say("[Click!|There was a small sound.] The chest opened, and inside [lay|was] {inside}.")
    t.extra('"It is beautiful," said {B}.', "They looked at it all evening.", '"Let us share it," said {A}.')
    t.end()


def spell(t: Tale) -> None:
    """Magic words, said exactly, move a stone."""
    t.cast("A", "child", "animal")
    t.cast("B", "adult")
    t.put(spell=" ".join(t.nonsense() for _ in range(t.rng.choice((2, 2, 3)))), bad=t.nonsense())
    t.put(block=t.pick(("road", "bridge", "gate", "well", "cave")))
    t.meet("A")
    t.say("[One day|One morning] a great stone [lay|fell] before the {block}, and nobody could move it.")
    t.say(
        '{A} asked {B}, an old wizard. {B} looked in a big book. "{Spell}," {B.he} read.',
        '"Put your hand on it," said the wizard {B}, "and say these words. {Spell}."',
        '{A} went to {B} the wizard. "You must say this," said {B}. "{Spell}."',
    )
    t.turn()
    if t.chance(0.4):
        t.say('First {A} said, "{Bad}." [The stone did not move.|Nothing happened.]')
        t.say("{A} thought hard.", "No, that was not it.", "{A} closed {A.his} eyes and thought.")
    else:
        t.extra("{A} went back to the stone.", "{A} was a little afraid.", "Many people came to see it.")
    t.say(
        '[Then|At last] {A} said, "{Spell}!"',
        '"{Spell}!" said {A} in a clear voice.',
        '{A} touched the stone. "{Spell}!"',
    )
    t.say(
        "The stone [rolled away|flew up like a leaf|became small as a nut], and the {block} was free again."
    )
    t.end('"Now I can do magic too," said {A}.')


def lost_pet(t: Tale) -> None:
    """A pet runs away and is called by its name."""
    t.cast("A", "child", "adult")
    t.cast("B")
    t.put(pet=t.pick(("dog", "cat", "goat", "donkey", "rabbit", "pony", "duck", "lamb")), D=t.name())
    t.put(colour=t.pick(("black", "white", "brown", "grey")))
    t.put(
        spot=t.pick(
            ("behind the mill", "in the tall grass", "under the bridge", "in the barn", "near the well")
        )
    )
    t.meet("A")
    t.say("{A.He} had a [little|young] {colour} {pet} [called|named] {D}.")
    t.say("[One day|One windy day|One morning] the gate was open, and {D} was gone.")
    t.say(
        '"{D}! {D}!" called {A}, but nobody came.',
        '{A} called, "{D}, where are you?"',
        "{A} ran up and down the road and called for {D}.",
    )
    t.say(
        '"Did you see a {colour} {pet}?" {A.he} asked {B}.',
        '{A.He} met {B}. "My {pet} is gone," {A.he} said.',
    )
    t.turn()
    t.say('"I heard something {spot}," said {B}.', '"Let us look {spot}," said {B}.')
    t.say("They went there, and [there sat {D}|there was {D}, wet and tired|out came {D}].")
    t.extra('"{D}!" cried {A}.', "{A} took {D} home.", "{D} was so happy to see {A}.")
    t.say("Since then {A} always closes the gate.", "That night {D} slept beside the bed.")
    t.end(strangers=True)


def parrot(t: Tale) -> None:
    """A parrot hears a secret and says it aloud."""
    t.cast("A", "child", "adult")
    t.cast("B")
    t.put(D=t.name(), colour=t.pick(COLOURS))
    t.put(
        secret=t.pick(
            (t.secret(), t.song(), f"the key is {t.pick(SPOTS)}", f"{t.name()} has the {t.pick(THINGS)}")
        )
    )
    t.meet("A")
    t.say("{A.He} had a {colour} parrot called {D}. [{D} forgot nothing.|{D} could say every word it heard.]")
    t.say(
        'One day {B} came and whispered, "{Secret}."',
        '"I will tell you a secret," said {B} to {A}. "{Secret}."',
        '{B} came close to {A}. "Tell nobody," {B.he} said. "{Secret}."',
    )
    t.say("But {D} was listening.", "They did not look at {D}.", "{D} sat still and listened.")
    t.turn()
    t.say(
        '[The next day|At the market] {D} cried, "{Secret}!" [Everyone heard it.|Everybody laughed.]',
        'When the guests came, {D} called, "{Secret}!"',
        '[On Sunday|In the morning] {D} sat on the roof. "{Secret}! {Secret}!"',
    )
    t.extra(
        '{A} became red. "Oh, {D}!"',
        "{B} looked at {A}, and {A} looked at {D}.",
        '"That was our secret!" said {B}.',
    )
    t.say(
        "After that, they told secrets only in the garden.",
        "Then {B} had to laugh too.",
        '"Next time we will write it down," said {A}.',
    )
    t.end()


def recipe(t: Tale) -> None:
    """A recipe is told, and the dish is made exactly so."""
    t.cast("A", "child", "animal")
    t.cast("B")
    t.put(
        list=listing(t.some(FOODS, t.rng.choice((3, 4, 4)))),
        count=t.number(),
        dish=t.pick(("soup", "pudding", "pie")),
    )
    t.put(elder=t.pick(("grandmother", "grandfather")))
    t.meet("A")
    t.say(
        "One day {A} wanted to make a {dish} for {B}.",
        "{B} was ill, so {A} wanted to make {B.him} a {dish}.",
        "It was the birthday of {B}, and {A} wanted to make a {dish}.",
    )
    t.say(
        '"Take {list}," said {A.his} {elder}. "And stir {count} times."',
        '{A.His} {elder} said, "You need {list}. You must stir it {count} times."',
        "In an old book it said: take {list}, and stir {count} times.",
    )
    t.say("So {A} [took|found|got] {list}.")
    t.turn()
    t.say("{A.He} [counted and|took a big spoon and] stirred {count} times.")
    t.extra(
        "Soon there was a sweet smell.", "It smelled so good that the cat came.", "The kitchen smelled good."
    )
    t.say(
        '"This is the best {dish} in the world," said {B}.',
        "{B} ate three plates of it.",
        "{B} tasted it and smiled.",
        '"May I have more, {A}?" asked {B}.',
    )
    t.end()


def trade(t: Tale) -> None:
    """One thing is traded for another until everybody has what they need."""
    t.cast("A", "child", "animal")
    t.cast("B")
    t.cast("C", "adult", "animal")
    first, second, third = t.some(THINGS, 3)
    t.put(first=first, second=second, third=third)
    t.meet("A")
    t.say("{A.He} had a {first}, but {A.he} [needed|wanted] a {third}.")
    t.say(
        '"I have a {second} and need a {first}," said {B}.',
        '"Your {first} for my {second}?" asked {B}.',
        '"Will you take a {second} for your {first}?" asked {B}.',
    )
    t.say("[So they traded.|That was fair.] Then {A} met {C} the {C.kind}, who had a {third}.")
    t.turn()
    t.say(
        '"I need a {second}!" said {C}. "Take my {third}."',
        '"A {second}! I looked for one all week," said {C}.',
        '"Will you give me that {second}, {A}?" asked {C}.',
    )
    t.say(
        "So {A} gave {C} the {second} and got the {third}.",
        "{C} took the {second}, and {A} took the {third}.",
    )
    t.extra(
        "Now {B} had the {first}, {C} had the {second}, and {A} had the {third}.",
        "Everyone had what they needed.",
    )
    t.end()


def seed(t: Tale) -> None:
    """A seed needs water and time."""
    t.cast("A", "child", "animal")
    t.cast("B", "adult")
    t.put(D=t.name(), colour=t.pick(("red", "blue", "yellow", "white", "pink")))
    t.meet("A")
    t.say(
        'One day {B} brought a seed. "It is called {D}," {B.he} said.',
        'In spring {B} gave {A.him} a [small|round|black] seed. "It is called {D}."',
        '{A.He} bought a seed from {B}. "It will be a tall {D}," said {B}.',
    )
    t.say("{A} put it in the ground and gave it water every [day|morning].")
    t.say('[But nothing came.|For a long time nothing happened.] ["Is it asleep?" asked {A}.|{A} was sad.]')
    t.say(
        '"Wait a little," said {B}.', '"The {D} needs time," said {B}.', '"Wait, {A}," said {B}. "Just wait."'
    )
    t.turn()
    t.say("Then [it rained for three days|came a warm week], and there was a small green leaf.")
    t.say("[By summer|Soon] the {D} was [taller than {A}|as high as the roof|full of {colour} flowers].")
    t.extra(
        "{A} gave {B} a new seed of the {D}.",
        '"You were right, {B}," said {A}.',
        "{A} and {B} sat under the {D} and ate bread and honey.",
    )
    t.end()


def quarrel(t: Tale) -> None:
    """Two friends both want one thing, and find a way to share it."""
    t.cast("A", "child", "animal")
    t.cast("B", "child", "animal")
    t.cast("C", "adult", "animal")
    thing, share, result = t.rng.choice(
        (
            (
                "kite",
                "One of you holds the string, and one of you runs",
                "the kite flew higher than the trees",
            ),
            ("pear", "Cut it, and each of you gets half", "the pear was sweet and soon gone"),
            ("drum", "One of you can play, and one of you can dance", "there was music all day"),
            ("sledge", "There is room for two on it", "they flew down the hill together"),
            ("book", "One of you reads, and one of you listens", "it was a wonderful story"),
            ("ball", "Throw it to each other", "the ball flew from one to the other"),
            ("swing", "One of you pushes, and then you change", "the swing went up to the sky"),
        )
    )
    t.put(thing=thing, share=share, result=result, colour=t.pick(COLOURS))
    t.say(
        "[One day {A} and {B}|{A} and {B}] found a {colour} {thing}.",
        "{A}, {A.who}, and {B}, {B.who}, found a {colour} {thing}.",
        "In the garden of {C} was a {colour} {thing}. {A} and {B} saw it.",
    )
    t.say(
        '"It is mine!" said {A}. "No, it is mine!" said {B}.',
        '"I saw it first," said {A}. "But I want it," said {B}.',
        "{A} wanted it, and {B} wanted it too, and they were very angry.",
    )
    t.say("{C} the {C.kind} heard them.", "Just then {C} came by.", '"What is this?" asked {C}.')
    t.say('"{Share}," {C.he} said.')
    t.turn()
    t.extra(
        "{A} looked at {B}. {B} looked at {A}.",
        "They had not thought of that.",
        "That was a good plan.",
        "First {B} laughed, and then {A} laughed.",
    )
    t.say("So they did, and {result}.", "They tried it, and {result}.")
    t.say(
        '"I am sorry, {B}," said {A}. "I am sorry too, {A}," said {B}.',
        "After that, {A} and {B} shared everything.",
        '"Together it is better," said {B}.',
        "In the evening they thanked {C} and went home.",
    )
    t.end()


def broken_bridge(t: Tale) -> None:
    """A bridge is broken, and somebody finds another way across."""
    t.cast("A")
    t.cast("B", "adult", "animal")
    t.put(river=t.name(), Q=t.name(), what=t.pick(("eggs", "bread", "medicine", "flour", "honey")))
    t.meet("A", home=False)
    t.say("[One day|One morning] {A} [was on the way to {Q}|went to {Q}] with a [basket|bag] of {what}.")
    t.say("But [the|a] storm had broken the bridge over the {river}.")
    t.extra(
        '"How can I cross the {river} now?" asked {A}.',
        "{A} looked at the cold water of the {river}.",
        "The {river} was wide and deep.",
    )
    t.turn()
    t.say("[{B} the {B.kind} was standing there too.|Then {B} came along, {B.who}.|On the road stood {B}.]")
    t.say(
        '"I have a long rope," said {B}.',
        '"I know a place with big stones," said {B}.',
        '"We can lay a tree across," said {B}.',
        '"Sit in my boat, {A}," said {B}.',
    )
    t.say("[Step by step|Slowly|With care] they crossed the {river}, and [not one thing|nothing] got wet.")
    t.say(
        "In {Q} everyone was glad to have the {what}.",
        "So the {what} came to {Q} after all.",
        "{A} gave {B} some of the {what} and walked on to {Q}.",
    )
    t.end(strangers=True)


def treasure(t: Tale) -> None:
    """The steps on a map are read aloud and then walked."""
    t.cast("A", "child", "animal")
    t.cast("B", "child", "animal")
    goals = t.some(
        ("the well", "the oak", "the gate", "the rock", "the river", "the wall", "the barn", "the bush"), 2
    )
    t.put(way=" and ".join(f"{t.pick(ONES[1:])} steps to {goal}" for goal in goals), owner=t.name())
    t.put(find=t.pick(("a box of gold coins", "a jar of plum jam", "a silver cup", "a bag of sweet nuts")))
    t.meet("A", home=False)
    t.say("In an old book {A.he} found a [map|page]. On it [stood|was written]: go {way}.")
    t.say(
        '"It is from {owner} the pirate!" said {B}.',
        '"The sailor {owner} wrote this," said {B}.',
        "At the bottom was a name: {owner}.",
    )
    t.say(
        '[They took a spade.|They ran out.] "How does it go?" asked {B}. "Go {way}," read {A}.',
        "[The next morning|At once] they took a spade and went {way}.",
        "{A} read, and {B} counted. They had to go {way}.",
    )
    t.turn()
    t.say(
        "[Here|There] they began to dig.",
        "There {B} began to dig.",
        "{A} took the spade and dug a deep hole.",
    )
    t.say("At last they found {find}.", "Soon the spade hit something. It was {find}!")
    t.say(
        '"Thank you, {owner}!" cried {A}.',
        "With it was a note: from {owner}, for the one who finds it.",
        "{A} and {B} shared it, and they thought of old {owner}.",
    )
    t.end()


def sheep(t: Tale) -> None:
    """A herd is called by name, and one is missing."""
    t.cast("A", "child", "adult")
    t.cast("B")
    names = [t.name() for _ in range(3)]
    missing, other, third = t.some(names, 3)
    t.put(names=listing(names), D=missing, other=other, third=third)
    t.put(herd=t.pick(("sheep", "goats", "hens", "ducks", "geese")))
    t.put(spot=t.pick(("behind a rock", "in a bush", "under the bridge", "by the pond", "in the tall grass")))
    t.meet("A")
    t.say("{A.He} had three {herd}, and their names were {names}.")
    t.say("[One evening|But one day] {other} came home and {third} came home, but {D} did not.")
    t.say('"Where is {D}?" asked {A}.', "{A} was afraid for {D}.", '"{D}! {D}!" {A.he} called.')
    t.turn()
    t.say(
        "{B} helped to look.",
        "{A} and {B} took a lantern and looked everywhere.",
        "{A} asked {B} to help.",
    )
    t.say("They found {D} {spot}.", 'At last {B} called, "Here!" and there was {D}, {spot}.')
    t.say("Now {names} were all together again.", "That night {A} counted again: {names}.")
    t.end()


def new_name(t: Tale) -> None:
    """A newborn animal chooses its own name."""
    t.cast("A", "child", "adult")
    t.cast("B")
    t.put(young=t.pick(("calf", "foal", "lamb", "puppy", "kitten", "goat", "donkey", "chick")))
    t.put(first=t.name(), D=t.name())
    t.meet("A")
    t.say("[One night|One spring morning|One cold night] a [little|small] {young} was born in the barn.")
    t.say('"What is its name?" asked {B}.', '"It needs a name," said {B}.')
    t.say(
        '"Is it {first}?" But the {young} did not look up.',
        '"Perhaps {first}?" said {A}. But it slept on.',
        '"{first}?" asked {A}. No, that was not its name.',
    )
    t.say(
        '"Or {D}?" said {B}.',
        '"Then {D}!" said {A}.',
        '"My grandfather was called {D}," said {B}.',
        '"{D} is an old name," said {A}.',
    )
    t.say(
        "The {young} opened its eyes.", "The {young} got up and came to them.", "The {young} lifted its head."
    )
    t.turn()
    t.say('"{D} it is!" said {A}.', "So it was called {D}.", '"It likes to be {D}," they said.')
    t.extra(
        "{D} grew big and strong.",
        "Now, when {A} calls {D}, it comes running.",
        "{D} followed {A} everywhere.",
        "In summer {D} ran over the green grass.",
    )
    t.end()


def echo(t: Tale) -> None:
    """A valley answers with the same words."""
    t.cast("A", "child", "animal")
    t.cast("B")
    t.put(valley=t.name(), song=t.song(), word=t.nonsense())
    t.meet("A", home=False)
    t.say(
        "[One day|One clear morning] {A.he} [climbed|walked] up to the [rocks|valley] of {valley} with {B}."
    )
    t.say(
        '{A} called, "{Song}!" And the valley answered, "{Song}!"',
        '"{Song}!" called {A}. "{Song}!" came the answer.',
        '{A} sang, "{Song}!" From far away somebody sang, "{Song}!"',
    )
    t.say('"Who is that?" asked {A}.', '"Who lives there?" asked {A}.', "{A} was surprised.")
    t.say(
        '"It is only the echo," said {B}.',
        '"The rocks of {valley} give back every word," said {B}.',
        '"That is your own voice, {A}," said {B}.',
    )
    t.turn()
    t.say(
        'Then {B} called, "{Word}!" And {valley} answered, "{Word}!"',
        '"{Word}!" called {B}. "{Word}!" said {valley}.',
    )
    t.extra(
        "{A} laughed, and {valley} laughed too.",
        '"Good night, {valley}!" they called. "Good night, {valley}!" came back.',
        "They called until the sun went down.",
    )
    t.end()


def memory_game(t: Tale) -> None:
    """Things lie under a cloth, and one must remember them all."""
    t.cast("A")
    t.cast("B")
    t.put(list=listing([f"a {thing}" for thing in t.some(THINGS, t.rng.choice((3, 4, 4, 5)))]))
    t.put(colour=t.pick(COLOURS), prize=t.pick(("an apple", "a cake", "a balloon", "a sweet plum")))
    t.say(
        "{A} and {B} played a game.",
        "It was raining, so {A} and {B} played a game.",
        "{A}, {A.who}, liked to play with {B}.",
    )
    t.say("[On the table lay|{B} put on the table] {list}.")
    t.extra('"Look well, {A}," said {B}.', "{A} looked for a long time.", '"You may look once," said {B}.')
    t.say("Then {B} [put|laid] a {colour} cloth over everything.")
    t.turn()
    t.say('"What is there?" asked {B}.', '"Now tell me," said {B}.', "{A} closed {A.his} eyes and thought.")
    t.say(
        '"There is {list}," said {A}.',
        '"I remember {list}," said {A}.',
        '"I saw {list}," said {A}.',
    )
    t.say(
        "{B} lifted the {colour} cloth. Everything was right!",
        "{B} took away the {colour} cloth. All were there.",
    )
    t.extra(
        '"You win, {A}!" said {B}, and gave {A.him} {prize}.',
        "So {A} got {prize}.",
        '"Now it is my turn," said {B}.',
    )
    t.end()


def fog(t: Tale) -> None:
    """A bell leads a boat home through the fog."""
    t.cast("A", "adult", "animal")
    t.cast("B")
    t.put(boat=t.name(), sound=t.nonsense(), harbour=t.name())
    t.meet("A", home=False)
    t.say(
        "[One morning|One grey morning|One day] {A.he} rowed out from {harbour} in the {boat} to catch fish."
    )
    t.say("[Then|Suddenly] the fog came, and [the land was gone|everything was white].")
    t.extra(
        '"Where is {harbour}?" asked {A}.',
        "{A} did not know where to row.",
        "The {boat} went round and round.",
    )
    t.say("[On the shore|In {harbour}], {B} began to ring the big bell: {sound}, {sound}, {sound}.")
    t.turn()
    t.say("[Far out on the water {A} heard it|Out in the fog {A} listened]: {sound}, {sound}, {sound}.")
    t.say(
        "{A} rowed to the sound, and soon {A.he} saw the lights of {harbour}.",
        "{A} rowed to the sound, until the {boat} touched the sand.",
        "{A.He} turned the {boat}, and soon there was {harbour}.",
    )
    t.extra(
        '"Your bell brought me home, {B}," said {A}.',
        "{B} pulled the {boat} up on the sand.",
        "{A} gave {B} the biggest fish.",
    )
    t.end()


def noise(t: Tale) -> None:
    """A frightening sound turns out to be something small."""
    t.cast("A", "child", "adult")
    t.cast("B")
    t.put(sound=t.nonsense(), where=t.pick(("in the attic", "in the cellar", "behind the stove")))
    t.put(
        who=t.pick(
            ("a little mouse with a nut", "a young owl", "a hungry cat", "a small hedgehog", "a lost bird")
        )
    )
    t.meet("A")
    t.say("[One night|One dark night|At night] {A} heard something {where}. {Sound}, {sound}!")
    t.say('"It is a ghost," thought {A}.', "{A} could not sleep.", "{A} hid under the blanket.")
    t.say(
        'In the morning {A.he} told {B}. "What did it say?" "It said {sound}, {sound}."',
        '{A} ran to {B}. "A ghost! It says {sound}, {sound}."',
        '"I heard {sound}, {sound}," {A.he} said to {B}. "We will see," said {B}.',
    )
    t.turn()
    t.say("[They took a candle and looked {where}.|{B} took a candle and went first.] {Sound}, {sound}!")
    t.say("There sat {who}.", "It was {who}!", "It was only {who}.")
    t.extra("{A} had to laugh.", '"Good evening," said {B}.', "They gave it some bread and milk.")
    t.say("They called it {Sound}.", "{A} kept it and called it {Sound}.", "After that, {A} was not afraid.")
    t.end()


def train(t: Tale) -> None:
    """The names of the stations come one after another."""
    t.cast("A")
    t.cast("B")
    t.put(
        one=t.name(),
        two=t.name(),
        three=t.name(),
        friend=t.pick(("grandmother", "uncle", "aunt", "brother", "sister")),
    )
    t.meet("A", home=False)
    t.say("[One day|On Monday|One morning] {A} took the train to visit {A.his} {friend} in {three}.")
    t.say(
        '"First comes {one}, then {two} and then {three}," said {B}, who drove the train.',
        '"We stop at {one}, {two} and {three}," said {B}, the driver.',
        "On the wall {A.he} read the names: {one}, {two} and {three}.",
    )
    t.extra("Soon {A.he} fell asleep.", "{A.He} ate a pear and looked out.", "The train was warm.")
    t.say('"{one}!" called {B}. [Some people got out.|A woman with a goat got in.|Nobody got out.]')
    t.say('"{two}!" called {B}. [It began to snow.|The train went on.|A boy got in.]')
    t.turn()
    t.say(
        '"{three}! Get out here, {A}," said {B}.',
        '"{three}!" {A} took {A.his} bag and ran to the door.',
        '"{three}!" {A} thanked {B} and got out.',
    )
    t.extra("There stood {A.his} {friend} and waved.", "{A.His} {friend} was waiting under the big clock.")
    t.end()


def address(t: Tale) -> None:
    """A letter finds the right person by the words on it."""
    t.cast("A", "adult", "child")
    t.cast("B", "adult", "animal")
    t.put(first=t.name(), last=t.name(), street=t.name(), number=t.number())
    t.meet("A", home=False)
    t.say("One [day|morning] {A.he} had a [blue|thick] letter for {first} {last}, {street} Street {number}.")
    t.say("But {A} [did not know|had never been in] that street.")
    t.say('"Where is {street} Street?" {A.he} asked {B}.', '"Do you know {first} {last}?" {A.he} asked {B}.')
    t.say(
        '"Behind the church," said {B}.',
        '"Over the bridge and up the hill," said {B}.',
        '"Ask at the mill," said {B}. At the mill they knew.',
    )
    t.turn()
    t.say(
        "{A} walked along {street} Street to number {number}.",
        "There was {street} Street, and there was number {number}.",
    )
    t.say(
        '"Are you {first} {last}?" asked {A}. "Yes, I am {first} {last}."',
        '"A letter for {first} {last}!" called {A}.',
    )
    t.say(
        "The letter was from a brother far away.",
        "In the letter was a picture of a baby.",
        "{first} {last} read it and cried for joy.",
        "{first} {last} read it and danced in the street.",
    )
    t.end()


def giant(t: Tale) -> None:
    """A giant has forgotten his own name, and somebody small finds it."""
    t.cast("A", "child", "animal")
    t.put(B=t.name(), wrong=t.name(), big=t.pick(("giant", "dragon", "troll")))
    t.put(on=t.pick(("cup", "belt", "spoon", "hat")))
    t.meet("A")
    t.say("[One day|One morning] {A} met a {big} who was crying.")
    t.say(
        '"I have forgotten my name," said the {big}.', '"Nobody knows my name, not even I," said the {big}.'
    )
    t.say(
        '"Is it {wrong}?" asked {A}. "No, not {wrong}."',
        '"Are you {wrong}?" asked {A}. "No."',
        '"Perhaps {wrong}?" asked {A}. The {big} only cried.',
    )
    t.say("Then {A} [looked at|saw] the [old|big] {on} of the {big}. Something was written on it: {B}.")
    t.turn()
    t.say(
        '"{B}!" cried {A}. "Your name is {B}!"',
        '"I think you are {B}," said {A}.',
        '"Hello, {B}," said {A}.',
    )
    t.say('"{B}! Yes, I am {B}!" [cried|said] the {big}.', '"{B}, {B}!" said the {big}. "That is me!"')
    t.say(
        "{B} was so happy that the trees shook.",
        "{B} danced, and the ground shook.",
        "{B} carried {A} home on one hand.",
    )
    t.end("{A} and {B} met every Sunday after that.")


def kite(t: Tale) -> None:
    """Something hangs in a tree, and somebody helps to get it down."""
    t.cast("A", "child")
    t.cast("B", "adult", "animal")
    t.put(thing=t.pick(("kite", "hat", "ball", "scarf", "paper bird")), colour=t.pick(COLOURS), D=t.name())
    t.meet("A", home=False)
    t.say("[One windy day|In autumn|One fresh morning] {A} was out on {D} Hill with a {colour} {thing}.")
    t.say("[Suddenly|Then] the wind [took|caught] the {thing}, and it [hung|landed] high in a tree.")
    t.extra(
        "{A} jumped, but {A.he} was too small.",
        "{A} shook the tree, but the {thing} stayed there.",
        '"My {thing}!" cried {A}.',
    )
    t.turn()
    t.say("{B}, {B.who}, saw it.", "{B} the {B.kind} came along.", "Then came {B}, {B.who}.")
    t.say(
        '"I can climb," said {B}.',
        '"I will bring a ladder," said {B}.',
        '"Take this long stick, {A}," said {B}.',
    )
    t.say("[After some time|At last|Soon] the {colour} {thing} was down.")
    t.extra("It was not even broken.", "It had only one small hole.")
    t.say(
        '"Thank you, {B}!" said {A}.',
        "{A} held it with both hands.",
        "{A} and {B} played on {D} Hill until evening.",
        "Together they walked down from {D} Hill.",
    )
    t.end(strangers=True)


def clock(t: Tale) -> None:
    """A clock has stopped because one small thing is missing."""
    t.cast("A", "adult", "child")
    t.cast("B", "child", "animal")
    t.put(
        town=t.name(),
        part=t.pick(("wheel", "screw", "spring")),
        spot=t.pick(SPOTS),
        hour=t.pick(ONES + TEENS[:2]),
    )
    t.meet("A", home=False)
    t.say("The [great|big|old] clock of {town} had stopped at {hour}.")
    t.extra(
        "Nobody knew when to eat or sleep.",
        "The baker was late, and so was the school.",
        "The people of {town} were late every day.",
    )
    t.say('{A} looked inside. ["A small {part} is missing," {A.he} said.|One {part} was gone.]')
    t.say(
        '"I found a {part}," said little {B}. "I put it {spot}."',
        'Little {B} thought. "I have seen a {part}. It is {spot}."',
    )
    t.turn()
    t.say("[They ran home and|{A} and {B}|They all] looked {spot}. [There it was!|And there was the {part}!]")
    t.say("{A} put the {part} in its place. [Tick, tock, said the clock.|The clock began to go.]")
    t.say(
        "From then on it was never late.",
        "At last it was not {hour} any more.",
        "The people of {town} danced in the street.",
    )
    t.end(strangers=True)


def scarf(t: Tale) -> None:
    """A scarf is known by the order of its colours."""
    t.cast("A")
    t.cast("B")
    t.cast("C")
    t.put(
        stripes=listing(t.some(COLOURS, t.rng.choice((3, 3, 4)))),
        thing=t.pick(("scarf", "blanket", "bag", "cap")),
    )
    t.meet("A")
    t.say("For the winter {B} made {A.him} a {thing}. [It was {stripes}.|Its colours were {stripes}.]")
    t.say("But one [snowy|windy|cold] day [it was gone|{A} lost it|{A} came home without it].")
    t.extra('"I must find it," said {A}.', "{A} looked in every street.", "{A} looked along the whole road.")
    t.say("Then {A.he} came to {C}.", "In the shop of {C} lay many lost things.", '"Ask {C}," said {B}.')
    t.turn()
    t.say(
        '"What does your {thing} look like?" asked {C}.', '"There are many here. Which is yours?" asked {C}.'
    )
    t.say('"It is {stripes}," said {A}.', '"Mine is {stripes}," said {A}.')
    t.say(
        '{C} looked in a big box. "Here it is, {A}!"',
        '{C} opened a drawer. "Then this is yours, {A}."',
        '"{A}, I have it," said {C}, and there it was.',
    )
    t.extra(
        "{A} was warm again.",
        "{A} held it close all the way home.",
        "{B} laughed when {A} came home with it.",
    )
    t.end()


def strange_word(t: Tale) -> None:
    """A visitor from far away has another word for a thing."""
    t.cast("A", "child", "adult")
    t.cast("B", "adult", "animal")
    t.put(
        word=t.nonsense(),
        thing=t.pick(("water", "bread", "milk", "soup", "honey", "fire", "tea")),
        far=t.name(),
    )
    t.meet("A")
    t.say("[One evening|One day|One night] {B} came to the door. {B} was from {far}, far over the sea.")
    t.say('"Please, {word}," said {B}. "A little {word}!"', '"I want {word}," said {B}. "Good {word}!"')
    t.say(
        "{A} did not understand. {A.He} brought a [chair|coat|book]. No.",
        '"What is {word}?" asked {A}, and showed {B.him} a [chair|coat|book]. No.',
    )
    t.say("Then {A} brought some {thing}.")
    t.say('"Yes, {word}!" cried {B}, and was happy.', '"My {word}!" said {B}, and laughed.')
    t.turn()
    t.say("So {word} was {thing}!", "So in {far} one says {word} for {thing}.")
    t.say('The next [morning|day] {A} asked, "[More|Some] {word}, {B}?"')
    t.say(
        "Soon {A} knew a hundred words from {far}.",
        "One day {A} would visit {far}.",
        "When {B} went home to {far}, both were sad.",
    )
    t.end(strangers=True)


def magic_pot(t: Tale) -> None:
    """One word starts the pot and another one stops it."""
    t.cast("A", "child", "animal")
    t.cast("B", "adult", "animal")
    t.put(start=t.nonsense(), stop=t.nonsense())
    t.put(
        food=t.pick(("soup", "rice", "pudding", "porridge", "jam", "tea")),
        pot=t.pick(("pot", "kettle", "bowl")),
    )
    t.meet("A")
    t.say('{B} gave {A.him} a magic {pot}. "Say {start}, and it makes {food}. Say {stop}, and it stops."')
    t.say("[At home|That evening|The next day] {A} said {start}, and the {pot} made {food}.")
    t.say("But [it did not stop|there was more and more].")
    t.extra(
        "Soon there was {food} on the floor.",
        "The {food} ran over the table.",
        "The {food} ran out of the door.",
    )
    t.turn()
    t.say(
        '"What was the other word?" cried {A}.',
        '"Stop!" cried {A}, but that was not the word.',
        "{A} had forgotten the other word.",
        "{A} was afraid.",
    )
    t.say("Then {A.he} remembered.", "At last it came back to {A.him}.", "{A.He} thought hard.")
    t.say("{A.He} said {stop}, and the {pot} [stopped at once|stood still].")
    t.say(
        "All the neighbours came and got some {food}.",
        "For a week everyone had {food}.",
        "{A} and {B} had to clean for two days.",
    )
    t.end()


def race(t: Tale) -> None:
    """Three run, and the prizes are given in the order in which they came in."""
    for key in "ABC":
        t.cast(key, "animal", "child")
    x, y, z = t.some("ABC", 3)
    t.put(
        x=t.slots[x],
        y=t.slots[y],
        z=t.slots[z],
        goal=t.pick(("the mill", "the old oak", "the church", "the rock")),
    )
    first, second, third = t.some([f"a {thing}" for thing in THINGS], 3)
    t.put(first=first, second=second, third=third)
    t.say(
        "{A}, {B} and {C} wanted to know who was the fastest. So one day they ran to {goal}.",
        '"Let us run to {goal}," said {A}. {B} and {C} liked the plan.',
    )
    t.extra(
        "At first {z} was far ahead, but {z.he} stopped to drink.",
        "{z} laughed and slept a little under a tree.",
        "{y} fell over a stone but got up again.",
        "{x} said nothing and ran.",
    )
    t.say(
        "In the end {x} came in first, {y} came in second, and {z} came in third.",
        "{x} was first, {y} was second and {z} was third.",
        "Who won? {x} was first, then came {y}, and then {z}.",
    )
    t.turn()
    t.say("The prizes were {first}, {second} and {third}.", "The owl brought {first}, {second} and {third}.")
    t.say("{x} got {first}, {y} got {second}, and {z} got {third}.")
    t.say(
        '"Next time I will run faster," said {z}.',
        '"Well done, {x}!" said {y}.',
        '"Again tomorrow?" asked {z}.',
    )


def well(t: Tale) -> None:
    """A thing falls into the well, and a small animal brings it up for a promise."""
    t.cast("A", "child", "adult")
    t.put(B=t.name(), helper=t.pick(("frog", "fish", "turtle")), thing=t.pick(SMALL_THINGS))
    t.put(colour=t.pick(("gold", "silver", "blue", "red")))
    t.put(gift=t.pick(("a song", "a bit of bread", "a story", "a hat of leaves", "a kiss")))
    t.meet("A")
    t.say("{A.He} had a {colour} {thing}. One day it fell into the [deep|old|dark] well.")
    t.extra('"Oh, my {thing}!" cried {A}.', "{A} could see only dark water.", "The water was deep and cold.")
    t.say(
        'Then a {helper} [looked|came] up. "I am {B}," said the {helper}. "I will get it, but I want {gift}."'
    )
    t.say('"You shall have it, {B}," said {A}.')
    t.turn()
    t.say("{B} went down into the dark water. [Soon|After a while] {B} came back with the {colour} {thing}.")
    t.say("{A} did not forget, and {B} got {gift}.", "{A} gave {B} {gift}, just as {A.he} had said.")
    t.say(
        "Every day after that, {A} said good morning to {B}.",
        "Now {A} comes to the well each day to talk to {B}.",
        "{B} was the happiest {helper} in the world.",
    )


def boxes(t: Tale) -> None:
    """Three boxes hold three things, and a good listener opens the right one."""
    t.cast("A")
    t.cast("B", "adult")
    colours = t.some(COLOURS, 3)
    things = t.some(
        ("a ring", "some coal", "a feather", "a shell", "a stone", "a cake", "a bell", "a spider"), 3
    )
    # Which of the three is wanted is chance; the colour and the thing must belong together.
    wanted = t.rng.randrange(3)
    t.put(c=colours[0], d=colours[1], e=colours[2], p=things[0], q=things[1], r=things[2])
    t.put(thing=things[wanted], colour=colours[wanted])
    t.meet("A")
    t.say("One day {B} showed {A.him} three boxes.", "On the table of {B} stood three boxes.")
    t.say(
        '"In the {c} box is {p}, in the {d} box is {q}, and in the {e} box is {r}," said {B}.',
        '"The {c} one has {p} in it, the {d} one has {q}, and the {e} one has {r}," said {B}.',
    )
    t.say('"Which one do you want, {A}?"', '"You may open one, {A}."')
    t.turn()
    t.say('{A} [thought of|wanted] {thing}. "The {colour} one, please," {A.he} said.')
    t.say(
        "{A.He} opened the {colour} box, and there was {thing}.",
        "{B} opened the {colour} box, and out came {thing}.",
    )
    t.extra(
        '"Good," said {B}. "You listened well."',
        "{B} laughed and closed the other two.",
        '"You have a good memory, {A}," said {B}.',
    )
    t.end()


def rhyme(t: Tale) -> None:
    """Children skip to a rhyme, and a newcomer learns it."""
    t.cast("A", "child")
    t.cast("B", "child")
    t.put(
        line=t.song(),
        number=t.number(),
        where=t.pick(("in the yard", "before the school", "behind the church")),
    )
    t.say('[Every day|In spring] the children skipped {where} and sang, "{Line}!"')
    t.say("{A} was new in the [town|school|village] and [did not know the song|stood by the wall].")
    t.say(
        '"It is easy," said {B}. "{Line}!"',
        '{B}, {B.who}, took {A.his} hand. "Just sing with me. {Line}!"',
        '"Come, I will show you," said {B}.',
    )
    t.turn()
    t.say('"{Line}!" sang {A} [in a small voice|and jumped|and laughed].')
    t.extra("Once {A} fell, but {A.he} got up.", "It was hard at first.", "Soon {A} was as good as {B}.")
    t.say(
        '"I will jump {number} times," said {A}. And {A.he} jumped {number} times.',
        "They counted, and {A} jumped {number} times.",
    )
    t.say(
        'That night {A} still sang, "{Line}!"',
        "{A} and {B} walked home arm in arm.",
        "Now {A} had a friend.",
    )


def whispers(t: Tale) -> None:
    """A word is whispered from one to the next, and sometimes it arrives."""
    for key in "ABC":
        t.cast(key)
    t.put(word=t.secret(), wrong=t.nonsense(), where=t.pick(("fire", "table", "stove")))
    t.say("One [evening|winter night|long evening] {A}, {B} and {C} sat around the {where} and played.")
    t.say('{A} whispered to {B}, "{Word}."')
    if t.chance(0.7):
        t.say('{B} whispered to {C}, "{Word}."')
        t.turn()
        t.say('"What was it?" asked {A}. "{Word}!" said {C}.', '"Say it, {C}!" said {A}. "{Word}!" said {C}.')
        t.extra("Not one sound was lost!", '"You have good ears," said {A}.', '"Right, {C}!" said {A}.')
    else:
        t.say('{B} whispered to {C}, "{Wrong}."')
        t.turn()
        t.say(
            '"What was it?" asked {A}. "{Wrong}!" said {C}.', '"Say it, {C}!" said {A}. "{Wrong}!" said {C}.'
        )
        t.say('They laughed. "I said something else," said {A}. "{Word}!"')
    t.extra(
        "Then it was the turn of {B}.",
        "Then {C} began a new word.",
        "They played until they were tired.",
        "Outside the wind blew, but they were warm.",
    )
    t.end()


def crow_nest(t: Tale) -> None:
    """A bird takes something that shines, and it is found in the nest."""
    t.cast("A", "child", "adult")
    t.cast("B", "child", "adult")
    t.put(thing=t.pick(("ring", "coin", "key", "bell", "spoon", "button")), metal=t.pick(("gold", "silver")))
    t.put(bird=t.pick(("crow", "magpie")), D=t.name())
    t.meet("A")
    t.say("{A.He} had a tame {bird} called {D}, and {D} loved everything that shone.")
    t.say(
        "One [day|morning] {B} had lost a {metal} {thing}.",
        'One day {B} cried, "My {metal} {thing} is gone!"',
    )
    t.say('"I left it at the window," said {B}.', "It had been on the table, near the open window.")
    t.extra("They looked in every corner.", "{A} and {B} looked in the grass.", "Nobody had seen it.")
    t.turn()
    t.say('Then {A} looked up at the tree. "{D}!"', '"Where is {D}?" asked {A}.', "Then {A} thought of {D}.")
    t.say("{A.He} climbed up to the nest, and there [sat {D} on|lay] the {metal} {thing}.")
    t.say(
        '"Oh, {D}!" said {A}.',
        "{B} had to laugh.",
        "{D} looked very sorry.",
        "{A} gave {D} a glass ball for it.",
    )
    t.end(strangers=True)


def star(t: Tale) -> None:
    """A star with a name shows the way home."""
    t.cast("A", "child", "animal")
    t.put(star=t.name(), elder=t.pick(("grandmother", "grandfather", "aunt", "uncle")))
    t.put(where=t.pick(("over our house", "over the mill", "over the bridge", "over our tree")))
    t.meet("A")
    t.say(
        '"Do you see that star?" asked {A.his} {elder}. "It is called {star}, and it stands {where}."',
        'One night {A.his} {elder} showed {A.him} a star. "That is {star}. It always stands {where}."',
    )
    t.say("A year later {A} was [far from home|out on the sea|deep in the wood], and it got dark.")
    t.extra("{A.He} did not know the way.", "There was no road to be seen.", "{A} was cold and tired.")
    t.turn()
    t.say(
        'Then the clouds opened. "{star}!" cried {A}.',
        "{A.He} looked up, and there was {star}.",
        'One star was brighter than the others. "That is {star}," said {A}.',
    )
    t.say("{A.He} followed {star} [all night|for hours|step by step] and came home.")
    t.say(
        '"{star} showed me the way," {A.he} said.',
        '"Thank you, {star}," {A.he} said at the door.',
        "{A.His} {elder} was waiting with hot soup.",
    )
    t.end()


def winter_bird(t: Tale) -> None:
    """A hungry bird is fed in winter, and sings in spring."""
    t.cast("A", "child", "adult")
    t.put(D=t.name(), song=t.song(), food=t.pick(("nuts", "bread", "peas", "rice")))
    t.meet("A")
    t.say("One [winter day|snowy morning|cold evening] a [hungry|tired] little bird sat at the window.")
    t.say(
        "{A} opened the window and gave it some {food}.",
        '"Come in," said {A}, and put some {food} on the table.',
    )
    t.say("{A.He} called it {D}.", '"I will call you {D}," {A.he} said.', "It got the name {D}.")
    t.say('All winter {D} [lived|slept] beside the stove, and every morning it sang, "{Song}."')
    t.turn()
    t.say("When the snow was gone, {D} flew away.", "In spring {A} opened the window, and {D} flew off.")
    t.extra("{A} was a little sad.", "The house was very quiet now.", '"Good luck, {D}," said {A}.')
    t.say(
        'But one morning somebody sang in the garden, "{Song}."',
        'A week later {A} heard it in the tree: "{Song}."',
        'Then, in May, a voice on the roof sang, "{Song}."',
    )
    t.say(
        '"{D}! You are back!" cried {A}.', "It was {D}, and {D} was not alone.", "{D} had built a nest there."
    )
    t.end()


def guests(t: Tale) -> None:
    """Three guests order three dishes, and each must get the right one."""
    t.cast("A", "adult", "child")
    x, y, z = (t.cast(key).name for key in "BCD")
    dishes = t.some(
        ("onion soup", "rice", "plum cake", "bean soup", "cheese", "honey bread", "a pear", "an egg", "nuts"),
        3,
    )
    pairs = list(zip((x, y, z), dishes, strict=True))
    served = t.rng.sample(pairs, 3)
    t.put(
        order=", ".join(f"{guest} wanted {dish}" for guest, dish in pairs[:2])
        + f" and {z} wanted {dishes[2]}"
    )
    t.put(serving=", ".join(f"{guest} got {dish}" for guest, dish in served[:2]))
    t.put(last=f"{served[2][0]} got {served[2][1]}")
    t.meet("A", home=False)
    t.say("{A.He} worked in [an inn|a little inn|an old inn]. One [evening|day] three guests came in.")
    t.say("{Order}.", "They sat down at the round table. {Order}.")
    t.say(
        "{A} wrote nothing down.",
        "{A} ran to the kitchen.",
        "The kitchen was full of smoke.",
        '"At once," said {A}.',
    )
    t.turn()
    t.say("Soon {A} came back. {Serving}, and {last}.", "{A} brought three plates. {Serving}, and {last}.")
    t.say(
        '"You forget nothing, {A}," said {B}.',
        '"How do you remember it all?" asked {C}.',
        "{D} ate it all and asked for more.",
        "Then it was quiet, for everyone was eating.",
    )


def hide_and_seek(t: Tale) -> None:
    """One counts, two hide, and the cat has seen it all."""
    t.cast("A", "child", "animal")
    t.cast("B", "child", "animal")
    t.cast("C", "child", "animal")
    spots = (
        "in the barn",
        "under the cart",
        "behind the oak",
        "in the hay",
        "behind the well",
        "under the stairs",
    )
    t.put(**dict(zip(("here", "there", "nowhere"), t.some(spots, 3), strict=True)))
    t.put(number=t.number())
    t.say(
        "{A}, {B} and {C} played hide and seek.",
        "On a [warm|long] day {A}, {B} and {C} played hide and seek.",
    )
    t.say("{A} had to count to {number}.", '"I will count to {number}," said {A}.')
    t.say("{B} hid {here}, and {C} hid {there}.", "{B} ran and hid {here}. {C} hid {there}.")
    t.turn()
    t.say('"{Number}! I am coming!" cried {A}.', 'At last {A} called, "{Number}!"')
    t.extra("{A.He} looked {nowhere}, but nobody was there.", "First {A.he} went and looked {nowhere}. No.")
    if t.chance(0.5):
        t.say('Then {A.he} looked {here}. ["I see you, {B}!"|There was {B}!|"{B}!" {A.he} cried.]')
        t.say("And {there} {A.he} found {C}.", "After that {A.he} found {C}, {there}.")
    else:
        t.say('Then {A.he} looked {there}. ["I see you, {C}!"|There was {C}!|"{C}!" {A.he} cried.]')
        t.say("And {here} {A.he} found {B}.", "After that {A.he} found {B}, {here}.")
    t.say('"Now you must count, {B}," said {A}.', '"Again!" cried {C}.', "They played until it got dark.")
    t.end()


def wish_fish(t: Tale) -> None:
    """A fish that is set free comes back when it is called."""
    t.cast("A", "adult", "animal")
    t.put(B=t.name(), colour=t.pick(COLOURS), lake=t.name())
    t.meet("A", home=False)
    t.say("One morning {A.he} caught a {colour} fish in Lake {lake}.")
    t.say(
        '"Let me go," said the fish. "My name is {B}. Call me, and I will help you."',
        '"Please let me live," it said. "If you need help, call {B}."',
    )
    t.say("{A} put it back into the water.", "So {A} let it swim away.", '"Swim, {B}," said {A}.')
    t.turn()
    t.say(
        "In autumn a storm came over Lake {lake}, and the boat of {A} was full of water.",
        "One day {A} fell into Lake {lake} and could not swim.",
        "One night the wind blew {A} far out on Lake {lake}.",
    )
    t.say('"{B}! {B}!" called {A}.', 'Then {A} remembered. "{B}, help me!"')
    t.say(
        "And {B} came with a hundred other fish, and all was well.",
        "{B} came at once, and before evening all was well again.",
    )
    t.say('"Thank you, {B}," said {A}.', "{A} never ate fish again.", "To this day {B} swims in Lake {lake}.")


def cart(t: Tale) -> None:
    """A cart is stuck, and only together can it be moved."""
    t.cast("A", "adult")
    t.cast("B", "child", "animal")
    t.cast("C", "adult", "animal")
    t.put(shout=t.song(), load=t.pick(("apples", "wood", "hay", "flour", "cheese")), horse=t.name())
    t.meet("A", home=False)
    t.say("One [day|morning] after the rain, {A} drove to market with a cart full of {load}.")
    t.say('[In the mud|On the wet road] the wheels stopped. "Pull, {horse}!" But the horse could not.')
    t.say("{B}, {B.who}, pushed, but [it was not enough|the cart stood still].")
    t.extra('"We need one more," said {B}.', "{A} was ready to go home.", "{horse} was tired.")
    t.turn()
    t.say('Then {C} the {C.kind} came. "We must sing when we push," {C.he} said. "{Shout}!"')
    t.say(
        'They all sang, "{Shout}!" and pushed.', '"{Shout}!" they all sang. {horse} pulled and they pushed.'
    )
    t.say("The cart moved!", "And slowly the wheels went round.", "Out came the cart.")
    t.say(
        "{A} gave {B} and {C} some of the {load}.", '"Well done, {horse}," said {A}.', "{horse} got a carrot."
    )


def three_keys(t: Tale) -> None:
    """Three keys belong to three doors, and one must know which is which."""
    t.cast("A", "child", "animal")
    t.cast("B", "adult")
    t.cast("C")
    keys = t.some(COLOURS, 3)
    doors = t.some(("kitchen", "cellar", "tower", "garden", "stable", "library", "attic", "barn"), 3)
    asked = t.rng.randrange(3)
    t.put(k=keys[0], l=keys[1], m=keys[2], o=doors[0], p=doors[1], q=doors[2])
    t.put(key=keys[asked], door=doors[asked])
    t.meet("A")
    t.say("{B} went away for a week and gave {A.him} three keys.", "One day {B} gave {A.him} three keys.")
    t.say(
        '"The {k} key is for the {o}, the {l} key is for the {p}, and the {m} key is for the {q}."',
        '"{K} is for the {o}, {l} is for the {p}, and {m} is for the {q}," said {B}.',
    )
    t.extra("{A} put them in a bag.", "The keys were big and heavy.", '"I will remember," said {A}.')
    t.turn()
    t.say(
        '[Soon|The next day] {C} came. "I must go into the {door}," {C.he} said.',
        '"Can you open the {door}, {A}?" asked {C}.',
    )
    t.say("{A} took the {key} key, and the door opened.", '"For that I need the {key} key," said {A}.')
    t.say('"Well done, {A}," said {C}.', "{C} was glad.", "When {B} heard it, {B.he} was proud.")
    t.end()


def long_song(t: Tale) -> None:
    """A very old song is learned by heart and sung again."""
    t.cast("A", "child", "animal")
    t.cast("B", "adult", "animal")
    t.put(verse=t.verse())
    t.meet("A")
    t.say(
        '{B} knew a very old song. "{Verse}," sang {B}.',
        'One evening {B} sang an old, old song: "{Verse}."',
        'Every winter {B} sang the song of the mountains: "{Verse}."',
    )
    t.say("{A} [listened|closed {A.his} eyes and listened], and then {A.he} sang it too:")
    t.say('"{Verse}!"', '"{Verse}." Not one word was wrong.')
    t.extra(
        '"Well sung, {A}!" said {B}.', "{B} had tears in {B.his} eyes.", '"You have a good ear," said {B}.'
    )
    t.end()


def spell_book(t: Tale) -> None:
    """A long spell has to be read without a mistake, first by one and then by the other."""
    t.cast("A", "child", "animal")
    t.cast("B", "adult")
    t.put(verse=t.verse(), thing=t.pick(THINGS))
    t.meet("A")
    t.say(
        "One day {A.he} found a [very old|dusty] book of spells in the house of {B}.",
        "In the house of {B} lay a book of spells.",
    )
    t.say('"{Verse}," read {B} [slowly|in a deep voice].', '{B} read aloud: "{Verse}."')
    t.say("[Nothing happened|Only the cat looked up].")
    t.say('"Let me try," said {A}. "{Verse}!"', 'Then {A} read it too: "{Verse}!"')
    t.say(
        "And [slowly|suddenly] the {thing} on the table began to [shine|dance|fly].",
        "At once the {thing} stood up and made a bow.",
    )
    t.end()


def letters_across(t: Tale) -> None:
    """A line in a strange language is copied from a stone."""
    t.cast("A", "child", "adult")
    t.cast("B", "adult")
    t.put(verse=t.verse(), P=t.name())
    t.say(
        'On a big stone near {P} somebody had cut these words: "{Verse}."',
        'Near {P} there is a stone, and on the stone it says: "{Verse}."',
    )
    t.say("{A}, {A.who}, [copied them|wrote them down] and took them to {B}.")
    t.say('"{Verse}," read {B}.', '{B} put on {B.his} glasses and read, "{Verse}."')
    t.say(
        '"It means: come in, the soup is hot," said {B}.',
        '"It means: here the giants sleep," said {B}.',
        '"Nobody knows what it means," said {B}, "but it sounds like the sea."',
    )
    t.end()


def round_game(t: Tale) -> None:
    """Children stand in a ring, and everybody has to say the same long rhyme."""
    t.cast("A", "child", "animal")
    t.cast("B", "child", "animal")
    t.cast("C", "child", "animal")
    t.put(verse=t.verse())
    t.say(
        "{A}, {B} and {C} stood in a ring and played the long word game.",
        "One rainy day {A}, {B} and {C} played the long word game.",
    )
    t.say('"{Verse}," [said|began] {A}.')
    t.say('"{Verse}," said {B}.')
    t.say('"{Verse}," said {C}.', "But {C} could only laugh and laugh.")
    t.say("It was the [best|longest] game of the [day|year].")
    t.end()


def drum(t: Tale) -> None:
    """A drum talks, and somebody on the other hill understands it."""
    t.cast("A", "child", "animal")
    t.cast("B", "child", "adult", "animal")
    t.put(verse=t.verse(), food=t.pick(FOODS))
    t.meet("A")
    t.say("{A} had a [big|red|round] drum.", "One evening {A} took the drum and climbed the hill.")
    t.say('"{Verse}," said the drum.', '{A} [drummed|played]: "{Verse}."')
    t.say('And from the other hill came the answer: "{Verse}."', '"{Verse}," said another drum far away.')
    t.say("That was {B}, and it meant: {food} for supper!", "It was {B}, who had heard every beat.")
    t.end()


def lullaby(t: Tale) -> None:
    """Somebody small cannot sleep until the right words are said."""
    t.cast("A", "child", "animal")
    t.cast("B", "adult")
    t.put(verse=t.verse())
    t.meet("A")
    t.say("One night {A} could not sleep.", "It was late, but {A} was wide awake.")
    t.say('"{Verse}," sang {B} [softly|quietly].', '{B} sat down and sang, "{Verse}."')
    t.say('"Again," said {A}. "{Verse}," sang {B}.', '"{Verse}," sang {B} once more.')
    t.say('"{Verse}," [whispered|said] {A}, and slept.', "Then {A} slept.")
    t.end()


PLOTS: tuple[Callable[[Tale], None], ...] = (
    lost_thing,
    lent_thing,
    password,
    shopping,
    song_home,
    message,
    house_number,
    boat,
    wet_letter,
    chest,
    spell,
    lost_pet,
    parrot,
    recipe,
    trade,
    seed,
    quarrel,
    broken_bridge,
    treasure,
    sheep,
    new_name,
    echo,
    memory_game,
    fog,
    noise,
    train,
    address,
    giant,
    kite,
    clock,
    scarf,
    strange_word,
    magic_pot,
    race,
    well,
    boxes,
    rhyme,
    whispers,
    crow_nest,
    star,
    winter_bird,
    guests,
    hide_and_seek,
    wish_fish,
    cart,
    three_keys,
    # These come more often: lines to copy are what teaches a small model to copy at all.
    *(long_song, spell_book, letters_across, round_game, drum, lullaby) * 6,
)


def make_stories(seed_number: int, size: int) -> str:
    """Tell stories until there are `size` bytes of them, with an empty line between one and the next."""
    rng = random.Random(seed_number)
    inventor = Inventor(rng)
    stories: list[str] = []
    total = 0
    while total < size:
        # All plots come once before any comes again, so that each is told equally often.
        for plot in rng.sample(PLOTS, len(PLOTS)):
            tale = Tale(rng, inventor)
            plot(tale)
            story = tale.text()
            inventor.listen(story)
            if total + len(story) + 2 > size:
                return "\n\n".join(stories) + "\n"
            stories.append(story)
            total += len(story) + 2
    return "\n\n".join(stories) + "\n"


def main() -> None:
    """Read the wishes on the command line and write the stories to a file."""
    parser = argparse.ArgumentParser(description="Write thousands of little stories with a story grammar.")
    parser.add_argument("--seed", type=int, default=7, help="another number gives other stories")
    parser.add_argument("--bytes", type=int, default=1_200_000, help="about how much text to write")
    parser.add_argument("--out", type=Path, required=True, help="the text file to write")
    options = parser.parse_args()
    text = make_stories(options.seed, options.bytes)
    options.out.write_text(text, encoding="ascii", newline="\n")
    print(f"{options.out}: {len(text):,} bytes, {text.count(chr(10) * 2) + 1:,} stories")


if __name__ == "__main__":
    main()

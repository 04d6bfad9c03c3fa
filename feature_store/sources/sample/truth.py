"""What only the generator knows: which words mean the same, how people mistype, and what they like.

Nothing outside this folder may import this module (tests/architecture holds it): it has to be learned.
"""

import numpy as np
from numpy.typing import NDArray

# How shoppers call a kind; the first word is the shop's own noun only where shoppers share it.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "sofa": ("couch", "settee", "davenport"),
    "armchair": ("easy chair", "lounge chair", "fireside seat"),
    "sofa cover": ("couch slipcover", "settee protector", "loose couch throw"),
    "cushion": ("throw pillow", "scatter pillow", "couch pillow"),
    "coffee table": ("cocktail table", "low lounge table", "tea table"),
    "rug": ("carpet", "area mat", "runner"),
    "floor lamp": ("standing light", "torchiere", "uplighter"),
    "bookcase": ("bookshelf", "shelving unit", "library rack"),
    "bed frame": ("bedstead", "divan base", "bed base"),
    "mattress": ("bed padding", "sleep pad", "sprung bed"),
    "mattress topper": ("bed overlay", "sleep pad overlay", "bed softener"),
    "duvet": ("comforter", "quilt", "continental quilt"),
    "duvet cover": ("quilt case", "comforter case", "bed linen set"),
    "wardrobe": ("armoire", "clothes closet", "clothes cupboard"),
    "bedside table": ("nightstand", "night table", "bed cabinet"),
    "curtain": ("drapes", "window panel", "blackout hanging"),
    "frying pan": ("skillet", "fry pan", "omelette maker"),
    "saucepan": ("cooking pot", "milk pan", "casserole with handle"),
    "chef's knife": ("cook's blade", "gyuto", "kitchen blade"),
    "knife sharpener": ("whetstone", "honing rod", "blade grinder"),
    "cutting board": ("chopping block", "carving plank", "butcher block"),
    "espresso machine": ("coffee maker", "barista machine", "cappuccino maker"),
    "coffee grinder": ("burr mill", "bean mill", "coffee mill"),
    "kettle": ("water boiler", "tea boiler", "hot water jug"),
    "coffee beans": ("whole bean roast", "java", "unground coffee"),
    "green tea": ("sencha", "matcha leaves", "gunpowder leaves"),
    "olive oil": ("cold pressed salad dressing", "evoo", "cooking oil"),
    "dark chocolate": ("cacao bar", "bitter cocoa slab", "cocoa treat"),
    "dishwasher tablets": ("dish tabs", "dishwashing pods", "dish caps"),
    "laundry detergent": ("washing powder", "clothes soap", "wash liquid"),
    "shampoo": ("hair wash", "hair cleanser", "hair soap"),
    "toothpaste": ("dental cream", "tooth gel", "dentifrice"),
    "garden chair": ("patio seat", "lawn chair", "terrace seat"),
    "garden table": ("patio table", "outdoor dining table", "terrace table"),
    "parasol": ("sun umbrella", "patio shade", "sunshade"),
    "barbecue": ("grill", "bbq", "smoker"),
    "barbecue cover": ("grill hood", "bbq tarp", "smoker protector"),
    "lawn mower": ("grass cutter", "turf trimmer", "lawn tractor"),
    "plant pot": ("planter", "flower tub", "jardiniere"),
    "garden hose": ("watering pipe", "hosepipe", "sprinkler line"),
    "tent": ("camping shelter", "bivouac", "canvas dome"),
    "sleeping bag": ("mummy bag", "bed roll", "camping quilt"),
    "backpack": ("rucksack", "knapsack", "daypack"),
    "hiking boots": ("trekking shoes", "walking footwear", "mountain shoes"),
    "rain jacket": ("waterproof coat", "anorak", "cagoule"),
    "water bottle": ("drinking flask", "canteen", "hydration flask"),
    "headlamp": ("head torch", "forehead light", "running torch"),
    "yoga mat": ("pilates pad", "exercise mat", "gym floor pad"),
    "dog bed": ("puppy basket", "hound sofa", "canine cushion"),
    "dog leash": ("puppy lead", "walking lead", "canine tether"),
    "dog food": ("kibble", "puppy chow", "canine dinner"),
    "cat food": ("kitten meal", "feline dinner", "kitty chow"),
    "cat litter": ("kitty sand", "feline toilet granules", "cat toilet filler"),
    "cat tree": ("scratching post", "kitty climbing tower", "feline perch"),
    "pet carrier": ("animal crate", "kitty travel box", "puppy transport bag"),
    "aquarium": ("fish tank", "fish bowl", "goldfish home"),
    "desk": ("writing table", "workstation", "bureau"),
    "office chair": ("swivel chair", "computer seat", "task seat"),
    "desk lamp": ("reading light", "study light", "task light"),
    "monitor": ("computer screen", "pc display", "flat screen"),
    "monitor arm": ("screen mount", "display bracket", "vesa stand"),
    "keyboard": ("typing board", "computer keys", "qwerty board"),
    "headphones": ("earphones", "headset", "cans"),
    "headphone case": ("headset pouch", "earphone box", "audio travel bag"),
}

# Plain words for each run of four shop colours, in the order of words.COLOURS.
COLOUR_FAMILIES: tuple[tuple[str, ...], ...] = (
    ("blue", "navy", "azure"),
    ("green", "olive green", "emerald"),
    ("red", "burgundy", "scarlet"),
    ("yellow", "gold", "golden"),
    ("brown", "dark brown", "chocolate brown"),
    ("beige", "cream", "tan"),
    ("pink", "rose", "salmon pink"),
    ("grey", "gray", "silver"),
    ("black", "jet black", "dark"),
    ("white", "off white", "bright white"),
)
NEAR_COLOURS: tuple[tuple[int, int], ...] = ((2, 6), (3, 5), (4, 5), (5, 9), (7, 8), (0, 1))

MATERIAL_WORDS: dict[str, tuple[str, ...]] = {
    "velvet": ("velour", "plush"),
    "boucle": ("teddy fabric", "curly wool"),
    "leather": ("hide", "real leather"),
    "linen": ("flax",),
    "cotton": ("percale", "jersey"),
    "oak": ("solid wood oak", "oakwood"),
    "bamboo": ("cane",),
    "stainless steel": ("inox", "steel"),
    "aluminium": ("alloy", "lightweight metal"),
    "copper": ("rose metal",),
    "goose down": ("feather", "down filled"),
    "microfibre": ("vegan down", "synthetic"),
    "cast iron": ("skillet iron", "heavy iron"),
    "decaffeinated": ("decaf", "caffeine free"),
    "fragrance-free": ("unscented", "sensitive skin"),
    "rechargeable": ("usb", "cordless"),
    "three-layer membrane": ("breathable", "gore"),
    "memory foam": ("visco", "pressure relief"),
    "organic": ("bio", "pesticide free"),
    "grain-free": ("no cereals", "wheat free"),
    "noise-cancelling": ("anc", "quiet"),
    "rattan": ("wicker",),
    "teak": ("hardwood",),
}
PRICE_WORDS: tuple[tuple[str, ...], ...] = (("cheap", "budget", "affordable"), ("premium", "luxury", "high end"))

# Kinds that can stand in for one another, a little.
SIBLINGS: tuple[tuple[str, str], ...] = (
    *(("sofa", "armchair"), ("coffee table", "bedside table"), ("floor lamp", "desk lamp"), ("frying pan", "saucepan")),
    *(("mattress", "mattress topper"), ("duvet", "sleeping bag"), ("coffee beans", "green tea"), ("tent", "parasol")),
    *(("garden chair", "office chair"), ("garden table", "desk"), ("headlamp", "desk lamp"), ("rug", "yoga mat")),
    *(("dog food", "cat food"), ("bookcase", "wardrobe"), ("bed frame", "dog bed"), ("backpack", "pet carrier")),
)

# What is bought after what: the next session looks for one of these.
FOLLOWS: dict[str, tuple[str, ...]] = {
    "sofa": ("cushion", "coffee table", "sofa cover", "rug"),
    "armchair": ("floor lamp", "cushion", "rug"),
    "coffee table": ("rug", "floor lamp"),
    "rug": ("curtain", "floor lamp"),
    "bed frame": ("mattress", "bedside table"),
    "mattress": ("mattress topper", "duvet"),
    "duvet": ("duvet cover",),
    "duvet cover": ("curtain",),
    "wardrobe": ("bedside table", "curtain"),
    "frying pan": ("saucepan", "cutting board", "olive oil"),
    "chef's knife": ("knife sharpener", "cutting board"),
    "espresso machine": ("coffee grinder", "coffee beans"),
    "coffee grinder": ("coffee beans",),
    "kettle": ("green tea",),
    "green tea": ("dark chocolate",),
    "coffee beans": ("dark chocolate",),
    "dishwasher tablets": ("laundry detergent",),
    "shampoo": ("toothpaste",),
    "garden table": ("garden chair", "parasol"),
    "garden chair": ("parasol",),
    "barbecue": ("barbecue cover", "olive oil"),
    "lawn mower": ("garden hose",),
    "plant pot": ("garden hose",),
    "tent": ("sleeping bag", "headlamp", "backpack"),
    "sleeping bag": ("headlamp", "water bottle"),
    "hiking boots": ("backpack", "rain jacket"),
    "backpack": ("water bottle", "rain jacket"),
    "yoga mat": ("water bottle",),
    "dog bed": ("dog leash", "dog food"),
    "dog leash": ("dog food",),
    "cat tree": ("cat litter", "cat food"),
    "cat food": ("cat litter",),
    "pet carrier": ("cat tree",),
    "desk": ("office chair", "desk lamp", "monitor"),
    "office chair": ("desk lamp",),
    "monitor": ("monitor arm", "keyboard"),
    "keyboard": ("headphones",),
    "headphones": ("headphone case",),
}

# How much each segment likes each department, in the order of words.DEPARTMENTS.
SEGMENTS: dict[str, tuple[float, ...]] = {
    "homemaker": (6.0, 5.0, 3.0, 2.0, 1.0, 0.2, 0.3, 0.5),
    "cook": (0.7, 0.5, 7.0, 4.0, 1.0, 0.3, 0.3, 0.5),
    "gardener": (0.8, 0.5, 1.0, 1.5, 7.0, 1.0, 1.0, 0.3),
    "hiker": (0.3, 0.5, 0.5, 1.0, 1.0, 8.0, 0.7, 1.0),
    "pet owner": (0.7, 0.7, 0.7, 2.0, 1.0, 0.7, 8.0, 0.4),
    "home worker": (1.0, 0.7, 1.5, 1.5, 0.2, 0.7, 0.3, 8.0),
}
SEGMENT_SHARES: tuple[float, ...] = (0.25, 0.18, 0.14, 0.15, 0.16, 0.12)

TYPO_SHARE = 0.18
SYNONYM_SHARE = 0.7
KEYBOARD_ROWS: tuple[str, ...] = ("qwertyuiop", "asdfghjkl", "zxcvbnm")

# The chance that a shopper looks at a place of a list is position ** -EXAMINATION.
# Source: the position-based click model, Craswell et al., "An experimental comparison of click position-bias
# models", WSDM 2008; the power law as in Joachims, Swaminathan and Schnabel, WSDM 2017, with eta between 0.5 and 1.
EXAMINATION = 0.7


def examination(positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """The chance, in (0, 1], that a shopper looks at each place; the first place is 1."""
    return np.asarray(positions.astype(np.float64) ** -EXAMINATION)


def mistyped(text: str, *, place: int, slip: int) -> str:
    """The text with one slip of the finger in its longest word; the word's first letter stays.

    Args:
        text: a query.
        place: which letter, any whole number.
        slip: 0 drops the letter, 1 doubles it, 2 swaps it with the next, 3 hits a neighbouring key.
    """
    words = text.split(" ")
    longest = max(range(len(words)), key=lambda number: len(words[number]))
    word = words[longest]
    if len(word) < 4:
        return text
    at = 1 + place % (len(word) - 2)
    letter = word[at]
    swaps = {
        0: word[:at] + word[at + 1 :],
        1: word[:at] + letter + word[at:],
        2: word[:at] + word[at + 1] + letter + word[at + 2 :],
        3: word[:at] + neighbour(letter) + word[at + 1 :],
    }
    words[longest] = swaps[slip % 4]
    return " ".join(words)


def neighbour(letter: str) -> str:
    """A key beside the letter's."""
    for row in KEYBOARD_ROWS:
        at = row.find(letter)
        if at >= 0:
            return row[at + 1] if at + 1 < len(row) else row[at - 1]
    return letter

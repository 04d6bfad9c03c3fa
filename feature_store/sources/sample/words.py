"""The words that the sample shop itself uses: its kinds of products, colours, materials, sizes, brands and styles."""

from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of product.

    Attributes:
        noun: the word in titles.
        leaf: the last step of the category path.
        department: the first step of the category path.
        material: a key of MATERIALS.
        size: a key of SIZES.
        price: the median price in the shop's currency.
        coloured: whether its variants differ by colour (else by size).
        repeat_days: after how many days it is used up; 0 for durable goods.
        peak_month: the month that sells most; 0 where all sell alike.
    """

    noun: str
    leaf: str
    department: str
    material: str
    size: str
    price: float
    coloured: bool = True
    repeat_days: int = 0
    peak_month: int = 0


LIVING, BEDROOM, KITCHEN, PANTRY = "Home > Living room", "Home > Bedroom", "Kitchen", "Pantry and household"
GARDEN, OUTDOOR, PETS, OFFICE = "Garden", "Sport and outdoor", "Pets", "Office and technology"
DEPARTMENTS = (LIVING, BEDROOM, KITCHEN, PANTRY, GARDEN, OUTDOOR, PETS, OFFICE)

KINDS: tuple[Kind, ...] = (
    Kind("sofa", "Sofas", LIVING, "upholstery", "seats", 890.0),
    Kind("armchair", "Armchairs", LIVING, "upholstery", "room", 390.0),
    Kind("sofa cover", "Sofa covers", LIVING, "textile", "seats", 79.0),
    Kind("cushion", "Cushions", LIVING, "textile", "square", 24.0),
    Kind("coffee table", "Coffee tables", LIVING, "wood", "room", 240.0),
    Kind("rug", "Rugs", LIVING, "floor", "area", 180.0),
    Kind("floor lamp", "Floor lamps", LIVING, "metal", "room", 120.0, True, 0, 11),
    Kind("bookcase", "Bookcases", LIVING, "wood", "room", 210.0),
    Kind("bed frame", "Bed frames", BEDROOM, "wood", "bed", 420.0),
    Kind("mattress", "Mattresses", BEDROOM, "foam", "bed", 520.0, False),
    Kind("mattress topper", "Mattress toppers", BEDROOM, "foam", "bed", 140.0, False),
    Kind("duvet", "Duvets", BEDROOM, "filling", "bed", 95.0, False, 0, 11),
    Kind("duvet cover", "Duvet covers", BEDROOM, "textile", "bed", 55.0),
    Kind("wardrobe", "Wardrobes", BEDROOM, "wood", "room", 480.0),
    Kind("bedside table", "Bedside tables", BEDROOM, "wood", "room", 110.0),
    Kind("curtain", "Curtains", BEDROOM, "textile", "area", 48.0),
    Kind("frying pan", "Frying pans", KITCHEN, "cookware", "diameter", 49.0),
    Kind("saucepan", "Saucepans", KITCHEN, "cookware", "diameter", 42.0),
    Kind("chef's knife", "Chef's knives", KITCHEN, "blade", "blade", 75.0, False),
    Kind("knife sharpener", "Knife sharpeners", KITCHEN, "blade", "room", 32.0, False),
    Kind("cutting board", "Cutting boards", KITCHEN, "wood", "room", 34.0, False),
    Kind("espresso machine", "Espresso machines", KITCHEN, "metal", "room", 420.0),
    Kind("coffee grinder", "Coffee grinders", KITCHEN, "metal", "room", 130.0),
    Kind("kettle", "Kettles", KITCHEN, "metal", "litres", 58.0),
    Kind("coffee beans", "Coffee beans", PANTRY, "coffee", "weight", 14.0, False, 24),
    Kind("green tea", "Green teas", PANTRY, "food", "weight", 9.0, False, 40),
    Kind("olive oil", "Olive oils", PANTRY, "food", "litres", 13.0, False, 45),
    Kind("dark chocolate", "Dark chocolates", PANTRY, "food", "weight", 5.0, False, 20, 12),
    Kind("dishwasher tablets", "Dishwasher tablets", PANTRY, "scent", "pack", 11.0, False, 35),
    Kind("laundry detergent", "Laundry detergents", PANTRY, "scent", "pack", 13.0, False, 40),
    Kind("shampoo", "Shampoos", PANTRY, "scent", "bottle", 8.0, False, 38),
    Kind("toothpaste", "Toothpastes", PANTRY, "scent", "bottle", 4.0, False, 30),
    Kind("garden chair", "Garden chairs", GARDEN, "weatherproof", "room", 95.0, True, 0, 5),
    Kind("garden table", "Garden tables", GARDEN, "weatherproof", "room", 240.0, True, 0, 5),
    Kind("parasol", "Parasols", GARDEN, "canvas", "diameter", 110.0, True, 0, 6),
    Kind("barbecue", "Barbecues", GARDEN, "metal", "room", 290.0, True, 0, 6),
    Kind("barbecue cover", "Barbecue covers", GARDEN, "canvas", "room", 36.0, True, 0, 9),
    Kind("lawn mower", "Lawn mowers", GARDEN, "power", "room", 310.0, True, 0, 4),
    Kind("plant pot", "Plant pots", GARDEN, "pottery", "diameter", 26.0, True, 0, 4),
    Kind("garden hose", "Garden hoses", GARDEN, "weatherproof", "length", 38.0, True, 0, 5),
    Kind("tent", "Tents", OUTDOOR, "technical", "people", 260.0, True, 0, 6),
    Kind("sleeping bag", "Sleeping bags", OUTDOOR, "filling", "clothes", 120.0, True, 0, 6),
    Kind("backpack", "Backpacks", OUTDOOR, "technical", "litres", 95.0),
    Kind("hiking boots", "Hiking boots", OUTDOOR, "shoe", "shoe", 150.0, True, 0, 9),
    Kind("rain jacket", "Rain jackets", OUTDOOR, "technical", "clothes", 130.0, True, 0, 10),
    Kind("water bottle", "Water bottles", OUTDOOR, "metal", "litres", 24.0),
    Kind("headlamp", "Headlamps", OUTDOOR, "power", "room", 45.0, True, 0, 11),
    Kind("yoga mat", "Yoga mats", OUTDOOR, "mat", "length", 42.0, True, 0, 1),
    Kind("dog bed", "Dog beds", PETS, "textile", "clothes", 65.0),
    Kind("dog leash", "Dog leashes", PETS, "strap", "length", 22.0),
    Kind("dog food", "Dog food", PETS, "petfood", "sack", 38.0, False, 30),
    Kind("cat food", "Cat food", PETS, "petfood", "sack", 27.0, False, 28),
    Kind("cat litter", "Cat litter", PETS, "litter", "sack", 15.0, False, 26),
    Kind("cat tree", "Cat trees", PETS, "floor", "room", 89.0),
    Kind("pet carrier", "Pet carriers", PETS, "canvas", "clothes", 48.0),
    Kind("aquarium", "Aquariums", PETS, "glass", "litres", 130.0, False),
    Kind("desk", "Desks", OFFICE, "wood", "area", 290.0, True, 0, 9),
    Kind("office chair", "Office chairs", OFFICE, "upholstery", "room", 230.0, True, 0, 9),
    Kind("desk lamp", "Desk lamps", OFFICE, "metal", "room", 49.0, True, 0, 10),
    Kind("monitor", "Monitors", OFFICE, "panel", "inches", 280.0, False),
    Kind("monitor arm", "Monitor arms", OFFICE, "metal", "inches", 85.0),
    Kind("keyboard", "Keyboards", OFFICE, "switch", "room", 90.0),
    Kind("headphones", "Headphones", OFFICE, "wireless", "room", 140.0, True, 0, 12),
    Kind("headphone case", "Headphone cases", OFFICE, "strap", "room", 19.0),
)

MATERIALS: dict[str, tuple[str, ...]] = {
    "upholstery": ("velvet", "linen", "boucle", "leather"),
    "textile": ("cotton", "linen", "velvet", "wool"),
    "wood": ("oak", "walnut", "pine", "bamboo"),
    "floor": ("wool", "jute", "sisal", "cotton"),
    "metal": ("stainless steel", "brass", "aluminium", "copper"),
    "foam": ("memory foam", "latex", "pocket spring", "cold foam"),
    "filling": ("goose down", "microfibre", "wool", "hollow fibre"),
    "cookware": ("cast iron", "stainless steel", "copper", "ceramic"),
    "blade": ("Damascus steel", "carbon steel", "stainless steel", "ceramic"),
    "coffee": ("arabica", "robusta", "decaffeinated", "espresso roast"),
    "food": ("organic", "fair trade", "single origin", "classic"),
    "scent": ("fragrance-free", "lavender", "citrus", "mint"),
    "weatherproof": ("teak", "aluminium", "rattan", "acacia"),
    "canvas": ("polyester", "acrylic", "canvas", "nylon"),
    "power": ("rechargeable", "mains-powered", "solar", "battery-run"),
    "pottery": ("terracotta", "stoneware", "zinc", "concrete"),
    "technical": ("nylon", "ripstop", "three-layer membrane", "waxed cotton"),
    "shoe": ("leather", "suede", "mesh", "nubuck"),
    "mat": ("cork", "natural rubber", "jute", "foam"),
    "strap": ("leather", "nylon", "hemp", "neoprene"),
    "petfood": ("salmon", "chicken", "lamb", "grain-free"),
    "litter": ("clumping clay", "silica", "wood pellet", "tofu"),
    "glass": ("float glass", "clear glass", "acrylic", "curved glass"),
    "panel": ("IPS", "OLED", "VA", "4K IPS"),
    "switch": ("mechanical", "membrane", "low-profile", "split"),
    "wireless": ("noise-cancelling", "open-back", "bone conduction", "wired studio"),
}

SIZES: dict[str, tuple[str, ...]] = {
    "seats": ("2-seater", "3-seater", "4-seater", "corner"),
    "room": ("compact", "medium", "large", "extra large"),
    "square": ("40 x 40 cm", "45 x 45 cm", "50 x 50 cm", "60 x 60 cm"),
    "area": ("80 x 150 cm", "120 x 170 cm", "140 x 240 cm", "200 x 300 cm"),
    "bed": ("single", "double", "king", "super king"),
    "diameter": ("20 cm", "24 cm", "28 cm", "32 cm"),
    "blade": ("15 cm", "18 cm", "20 cm", "24 cm"),
    "litres": ("0.5 l", "1 l", "1.7 l", "20 l"),
    "weight": ("100 g", "250 g", "500 g", "1 kg"),
    "pack": ("20 washes", "40 washes", "60 washes", "100 washes"),
    "bottle": ("75 ml", "250 ml", "400 ml", "750 ml"),
    "length": ("1.5 m", "2 m", "5 m", "20 m"),
    "people": ("1-person", "2-person", "4-person", "6-person"),
    "clothes": ("S", "M", "L", "XL"),
    "shoe": ("38", "40", "42", "44"),
    "sack": ("2 kg", "5 kg", "10 kg", "15 kg"),
    "inches": ("24 inch", "27 inch", "32 inch", "34 inch"),
}

COLOURS: tuple[str, ...] = (
    *("Midnight", "Lagoon", "Ink", "Cornflower"),
    *("Forest", "Sage", "Moss", "Bottle"),
    *("Crimson", "Brick", "Cherry", "Merlot"),
    *("Mustard", "Saffron", "Honey", "Lemon"),
    *("Chestnut", "Cocoa", "Tobacco", "Umber"),
    *("Oat", "Sand", "Ecru", "Almond"),
    *("Blush", "Peony", "Flamingo", "Petal"),
    *("Slate", "Ash", "Pewter", "Fog"),
    *("Onyx", "Jet", "Raven", "Coal"),
    *("Chalk", "Snow", "Ivory", "Pearl"),
)

STYLES: tuple[str, ...] = ("Nordic", "industrial", "classic", "boho", "minimal", "retro")

BRANDS: tuple[str, ...] = (
    *("Halden", "Norrvik", "Fjordly", "Lindqvist"),
    *("Ironmoor", "Forge & Finch", "Brackwell", "Steelyard"),
    *("Ashcombe", "Wetherby Lane", "Harrowgate", "Pembrook"),
    *("Casa Lumo", "Tamarind", "Zahara", "Olivastro"),
    *("Plainform", "Monoko", "Blanc Atelier", "Kumo"),
    *("Dandy & Co", "Moonbeam", "Rollick", "Starling Sixties"),
)

SYLLABLES: tuple[str, ...] = (
    *("al", "be", "cor", "da", "el", "fa", "gri", "ha", "il", "jo", "ka", "lu"),
    *("mar", "no", "or", "pe", "qui", "ro", "sa", "ti", "ul", "va", "wen", "yo"),
)

LOCALES: tuple[tuple[str, str], ...] = (
    ("en-GB", "GB"),
    ("en-US", "US"),
    ("en-IE", "IE"),
    ("de-DE", "DE"),
    ("fr-FR", "FR"),
)
CURRENCY = "EUR"

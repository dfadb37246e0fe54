"""The words in names of the synthetic worlds. Every name has at least two of them.

The worlds for training and testing use the same words but never the same pair, see ``world_names.py``.
"""


def _joined(heads: str, tails: str) -> tuple[str, ...]:
    """Every head with every tail, ordered so that neighbours differ in both."""
    first, last = heads.split(), tails.split()
    return tuple(
        first[place] + last[(place + turn) % len(last)]
        for turn in range(len(last))
        for place in range(len(first))
    )


WOMEN = tuple(
    "Ada Alma Anouk Beata Bruna Calla Celeste Cora Dagny Delia Edda Elin Esme Farah Fenna Freya Greta "
    "Halima Hanne Ida Ilse Inez Iona Isolde Jana Junia Kaia Katrin Lena Liv Lotte Mabel Maeve Maren "
    "Marit Mina Malin Nadia Nell Nora Odile Olga Orla Petra Rhea Romy Runa Sabine Selma Signe Tamsin "
    "Tessa Thea Tove Una Vera Wilma Yara Zelda Zora".split()
)
MEN = tuple(
    "Abel Alaric Anton Arlo Bastian Benno Bram Casimir Cato Cyril Darius Edgar Egon Emil Enzo Ewan "
    "Fabian Felix Florian Gideon Goran Hamish Hector Hugo Ignaz Ivo Jasper Joren Kasper Kuno Lambert "
    "Leif Linus Ludo Magnus Malik Marius Milo Nico Nils Oskar Osmund Otto Pavel Percy Piet Quentin "
    "Ragnar Rasmus Remy Rufus Sander Silas Stellan Tobin Ulrich Viktor Wendel Yorick Zeno".split()
)
SURNAMES = _joined(
    "Ash Bel Cor Dun Fal Gar Hol Kes Lor Mar Nor Pel Ros Tar Ver",
    "lin mont nock rick sen vane by wyn zar der quist ham",
)

CITY_STEMS = _joined(
    "Brack Cald Drum Esk Hest Kirr Mir Oss Rist Stav Thorn Wend", "en er ing ow a um ley mere holt ard"
)
CITY_FORMS = (
    *("Port {}", "Fort {}", "Upper {}", "Lower {}", "New {}", "Old {}", "East {}", "West {}", "Great {}"),
    *("Little {}", "{} Falls", "{} Bridge", "{} Hill", "{} Bay", "{} Cross", "{} Harbour", "{} Vale"),
    *(
        "{} Heath",
        "{} Springs",
        "{} Quay",
        "{} Ferry",
        "{} Gate",
        "{} Moor",
        "{} Rock",
        "{} Wells",
        "{} Point",
    ),
)
COUNTRY_STEMS = _joined("Vel Tars Ond Kar Mor Sil", "mora via nia dova land tania")
COUNTRY_FORMS = (
    "North {}",
    "South {}",
    "Free {}",
    "Outer {}",
    "Inner {}",
    "Greater {}",
    "Lesser {}",
    "High {}",
)
RIVER_STEMS = _joined("Osk Tem Arr Wen Lav", "el une ra iss ald ot ona ern")
RIVER_FORMS = (
    *("Black {}", "White {}", "Green {}", "Blue {}", "Red {}", "Grey {}", "Brown {}", "Silver {}"),
    *("Swift {}", "Slow {}", "Deep {}", "Cold {}", "Clear {}", "Long {}"),
)
COIN_METALS = ("silver", "copper", "iron", "golden", "paper", "glass", "salt", "amber", "round", "square")
COINS = tuple("crown penny florin mark shell thaler groat ducat star lion oak wheel".split())

COMPANY_FIRSTS = tuple(
    "Amber Azure Brass Bright Bronze Cedar Chalk Cobalt Copper Coral Crimson Crystal Double Eastern "
    "Ebony Emerald Fair Fern First Flint Frost Gilded Granite Hazel Hollow Honest Iron Ivory Jade Keen "
    "Laurel Lead Linen Lucky Lunar Maple Marble Merry Misty Noble Oaken Olive Opal Pale Pearl Pine "
    "Plain Polar Prime Quick Royal Ruby Rustic Saffron Scarlet Solid Steel Stone Sturdy Sunny Tidal Tin "
    "True Twin Velvet Vivid".split()
)
COMPANY_SECONDS = tuple(
    "Anchor Antler Badger Beacon Bear Beaver Bell Bison Bull Camel Candle Castle Cobra Compass Condor "
    "Crane Crow Dolphin Dove Dragon Drum Eagle Elk Falcon Feather Finch Fox Goat Griffin Hammer Harp "
    "Hawk Heron Hive Horse Hound Ibis Jackal Kettle Key Kite Ladder Lark Lizard Lynx Magpie Mammoth "
    "Marten Mole Moose Needle Otter Owl Panther Pelican Plough Puffin Raven Robin Salmon Seal Shield "
    "Sparrow Spindle Stag Stork Swan Thimble Tiger Turtle Walrus Wolf Wren".split()
)
COMPANY_FORMS = ("Company", "Works", "Brothers", "House", "Union", "Partners", "Trading", "Guild")
PRODUCTS = (
    *("glass bottles", "wool coats", "piano strings", "fishing boats", "garden tools", "wall clocks"),
    *(
        "writing paper",
        "oil lamps",
        "leather boots",
        "tin toys",
        "bicycles",
        "sewing machines",
        "honey cakes",
    ),
    *(
        "rope and sails",
        "window frames",
        "church bells",
        "soap",
        "pocket knives",
        "felt hats",
        "printing ink",
    ),
    *("telescopes", "railway signals", "cough syrup", "playing cards", "umbrellas", "stoves", "fireworks"),
)

TITLE_FIRSTS = tuple(
    "Absent Ancient Barren Bitter Blind Bold Borrowed Broken Burning Buried Careful Changing Cheerful "
    "Closed Common Crooked Cruel Curious Dancing Dark Distant Dreaming Drifting Dusty Early Eager "
    "Earnest Empty Endless Fading Faithful Falling Final Flying Foolish Forgotten Fragile Frozen Gentle "
    "Grateful Hidden Humble Hungry Idle Jealous Kind Last Lazy Lonely Lost Loud Loyal Midnight Modest "
    "Narrow Nervous Nimble Odd Open Orphan Painted Patient Perfect Proud Quiet Ragged Rainy Reckless "
    "Restless Rising Sacred Secret Seventh Shallow Silent Singing Sleeping Small Smiling Solemn Spare "
    "Stolen Strange Stubborn Sudden Tender Thirsty Tired Unkind Vanished Waiting Wandering Wild Wise "
    "Wooden Young".split()
)
TITLE_SECONDS = tuple(
    "Afternoon Alphabet Apple Arrow Attic Aunt Balcony Ballad Banquet Barge Basket Bird Blanket Book "
    "Bottle Bride Brother Butterfly Canal Captain Carnival Carpet Chapel Chimney Choir Clock Cloud "
    "Coast Corridor Cottage Cradle Curtain Daughter Desert Diary Doctor Door Echo Elephant Engine "
    "Evening Farmer Father Feast Fiddle Fisherman Flame Flower Forest Fountain Friend Garden Ghost "
    "Giant Guest Harvest Hat Hunter Island Journey Judge King Lake Lamp Letter Lighthouse Lodger Map "
    "Market Meadow Mirror Morning Mother Mountain Neighbour Night Nurse Ocean Orchard Page Palace "
    "Parade Path Piano Pilgrim Pillow Planet Prince Promise Queen Rain Road Room Rose Sailor School "
    "Shadow Shepherd Shore Sister Snow Soldier Song Stair Stranger Street Tailor Thief Tower Train "
    "Traveller Valley Village Violin Visitor Voice Wall Wedding Widow Window Witness".split()
)
TITLE_FORMS = ("The {} {}", "The {} {}", "{} {}")
WORK_LABELS = ("novel", "film", "opera", "play")
OCCUPATIONS = tuple(
    "painter surgeon botanist architect violinist printer geologist baker carpenter engineer poet "
    "sculptor chemist photographer clockmaker pilot astronomer gardener weaver dancer lawyer historian "
    "glassblower librarian".split()
)

"""The words of the built-in corpus: the entries for each `{slot}` of `toy_grammar`."""


def _entries(block: str) -> list[str]:
    return [" ".join(entry.split()) for entry in block.split("|")]


def _joined(heads: str, tails: str) -> list[str]:
    return [head + tail for head in heads.split() for tail in tails.split()]


_SURNAMES = _joined(
    """Al Bar Bel Bren Cal Cor Dar Del Dor Fal Fen Gar Gal Hal Har Jan Kal Kor Lan Lor Mar Mel Mor
    Nor Ol Pal Pet Ran Ros Sal Sor Tal Tor Ul Val Var Vor Wil Yan Zel""",
    """adze akis aldi amura anov anto arez arsen berg bury dale dini elli enko erson eska etti felt
    ford gren haus holm idis ikov imoto inez ington kov lund mann mond ovic oyan quist rand ridge
    sen shaw strom ton uchi ulo vitz wick worth""",
)
_TOWNS = _joined(
    """Ash Brim Cald Dun East Elm Fair Glen Gold Hart Hazel Iron Kings Lang Mill North Oak Pen Port
    Raven Red Salt South Stan Stone Thorn Wel West Win Wood""",
    """bourne bridge brook by chester cliff combe dale don field ford gate ham haven hill hurst
    land ley mere minster mouth pool stead stoke ton water well wick""",
)
_FIRMS = _joined(
    """Acu Alti Aero Beta Bio Cene Cora Dyna Evo Flexi Geno Helio Ferro Kine Luma Medi Nova Onda
    Opti Pro Quanta Sola Sylo Tera Trans Ultra Veri Zeno""",
    """com core cor dex dyne gen line link lon mark max med mont net nex pact sys tech tek trex
    tron vance via vista""",
)

LEXICON: dict[str, list[str]] = {
    "surname": _SURNAMES,
    "town": _TOWNS,
    "firm_stem": _FIRMS,
    "number": [str(n) for n in range(2, 100)],
    "age": [str(n) for n in range(21, 80)],
    "hundreds": [str(n) for n in range(110, 1000, 10)],
    "decimal": [f"{n // 10}.{n % 10}" for n in range(11, 100)],
} | {
    slot: _entries(block)
    for slot, block in {
        # Shared by all classes.
        "given": """Ada|Ahmed|Aiko|Alan|Amara|Ana|Anders|Bianca|Boris|Carla|Chen|Clara|Dana|Diego|
            Elena|Emil|Erik|Farid|Fiona|Goran|Grace|Hana|Hugo|Ines|Ivan|Jamal|Joan|Jorge|Kari|Kofi|
            Lars|Leila|Lucia|Luis|Marek|Maria|Mei|Miguel|Nadia|Nils|Nina|Olga|Omar|Paolo|Petra|
            Priya|Rafael|Ravi|Rosa|Samir|Sofia|Stefan|Tariq|Tessa|Thomas|Vera|Viktor|Yusuf|Zoe""",
        "person": "{given} {surname}|{given} {surname}|{surname}",
        "city": "{town}|{capital}",
        "capital": """Athens|Berlin|Cairo|Dublin|Geneva|Jakarta|
            Lima|Lisbon|London|Madrid|Manila|Nairobi|New York|Oslo|Paris|Prague|Rome|Seoul|Sydney|
            Tokyo|Toronto|Vienna|Warsaw""",
        "dateline": """ATHENS|BERLIN|CAIRO|DUBLIN|GENEVA|LIMA|LONDON|MADRID|NEW YORK|OSLO|PARIS|
            ROME|SEOUL|SYDNEY|TOKYO|TORONTO|VIENNA|WARSAW""",
        "wire": "Wire|Wire|Newsline|Courier|Dispatch",
        "country": """Altania|Bevaria|Cordonia|Drevia|Estovar|Falland|Gorenia|Hestria|Istovia|
            Jorland|Karistan|Lomaria|Merovia|Norvania|Ostland|Pelagia|Quintara|Rusovia|Selonia|
            Tarvania|Ulmaria|Valdonia|Westavia|Zembia""",
        "firm": "{firm_stem}|{firm_stem}|{firm_stem} {suffix}",
        "suffix": "Corp|Inc|Group|Holdings|Ltd|Partners|Systems|Brothers|Industries",
        "team": "{town} {nick}|{town} {nick}|the {nick}",
        "nick": """Rovers|Tigers|Falcons|Wanderers|Bears|Comets|Pirates|Giants|Hornets|Lions|
            Rangers|Wolves|Sharks|Kings|Royals|Eagles|Bulls|Saints|Raiders|Panthers""",
        "day": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday",
        "ord": "first|second|third|fourth|fifth|sixth|seventh|eighth",
        "money": """${decimal} billion|${decimal} million|${hundreds} million|
            {hundreds} million euros""",
        "old": "former|veteran|young|local|retired|popular|outspoken|leading|senior|well-known",
        # World.
        "w_role": """minister|president|senator|ambassador|general|governor|judge|lawmaker|diplomat|
            chancellor|mayor|envoy|premier|rebel leader|opposition leader|prime minister""",
        "w_group": """troops|rebels|protesters|peacekeepers|refugees|soldiers|villagers|aid workers|
            border guards|voters|students|militants|conscripts|miners|nurses|dissidents""",
        "w_body": """the Security Council|the European Union|parliament|the cabinet|the Senate|
            the African Union|the general assembly|the foreign ministry|the coalition""",
        "w_office": """embassy|palace|ministry|consulate|town hall|police headquarters|parliament|
            cathedral|barracks|refugee camp|governor's residence""",
        "w_talks": """peace talks|a summit|ceasefire talks|a state visit|negotiations|mediation|
            crisis talks|a round of diplomacy""",
        "w_topic": """land reform|the border|prisoners of war|water rights|human rights|asylum|
            the constitution|disarmament|sanctions|fishing rights|nuclear inspections|autonomy|
            amnesty|corruption|censorship|the hostages""",
        "w_demand": """new elections|independence|an end to the curfew|the release of detainees|
            a lasting truce|the return of exiles|a fair recount|a withdrawal of forces""",
        "w_past": "civil war|coup|revolution|earthquake|uprising|flood|invasion|famine|siege",
        "w_aid": "tents|blankets|clean water|food parcels|medicine|relief flights|rescue boats",
        # Sports.
        "s_role": """striker|coach|goalkeeper|pitcher|quarterback|sprinter|captain|midfielder|
            defender|batsman|golfer|winger|cyclist|gymnast|swimmer|boxer|catcher|shortstop""",
        "s_event": """the semifinal|the cup final|the playoffs|the world championship|the derby|
            the opening round|the league game|the Olympic trials|the quarterfinal|the masters""",
        "s_hurt": """knee|ankle|hamstring|shoulder|groin|wrist|elbow|calf|thigh""",
        "s_win": "beat|thrashed|edged|crushed|outplayed|overcame|routed|knocked out|held off",
        "s_score": "1-0|2-0|2-1|3-1|3-2|4-0|4-2|5-3|21-17|24-10|31-14|88-79|95-92|102-97",
        "s_feat": """two touchdowns|a hat trick|three home runs|a free kick|a penalty|an unbeaten
            century|a birdie|a late header|a double fault|a grand slam|a volley|18 rebounds""",
        "s_time": "extra time|stoppage time|overtime|the ninth inning|the second half|the last lap",
        "s_prize": "medal|trophy|title|crown|championship|pennant|gold medal|league title",
        # Business.
        "b_role": """banker|broker|chairman|investor|retailer|chief executive|trader|shareholder|
            financier|economist|accountant|treasurer|fund manager|auditor|analyst|billionaire""",
        "b_kind": """brewer|airline|insurer|carmaker|lender|grocer|drugmaker|steelmaker|retailer|
            oil producer|hotel chain|shipping line|mining group|phone company|clothing chain""",
        "b_item": """quarterly profit|revenue|earnings|annual sales|operating profit|turnover|
            pretax profit|dividend income|market share|cash flow""",
        "b_rise": "rose|jumped|climbed|fell|slipped|dropped|slid|soared|tumbled|edged up|sank",
        "b_why": """higher oil prices|weak demand|cost cuts|strong exports|a weak dollar|inflation|
            rising wages|consumer spending|cheap imports|restructuring charges|job losses""",
        "b_asset": """pension fund|subsidiary|bonds|brands|mortgage arm|warehouses|shares|franchise|
            debt|refinery|credit card unit|loan book""",
        "b_market": "Wall Street|the stock market|the bond market|the futures market|the exchange",
        # Sci/Tech.
        "t_role": """scientist|astronomer|programmer|engineer|biologist|hacker|physicist|chemist|
            geologist|inventor|astronaut|geneticist|software developer|botanist|researcher""",
        "t_group": """scientists|astronomers|biologists|engineers|researchers|physicists|
            geneticists|oceanographers|climatologists|space agency officials|zoologists""",
        "t_thing": """telescope|space probe|browser|search engine|operating system|satellite|robot|
            laptop|handheld player|microscope|video game|rover|supercomputer|digital camera""",
        "t_topic": """dark matter|stem cells|global warming|coral reefs|spam|open source software|
            nanotubes|fossils|broadband|encryption|photosynthesis|gravity|glaciers|malaria""",
        "t_body": "Mars|Saturn|Jupiter|Titan|Venus|the Moon|a comet|an asteroid|a distant galaxy",
        "t_find": "found|detected|mapped|measured|simulated|observed|recorded|traced",
        "t_small": "protein|enzyme|molecule|gene|bacterium|crystal|electron|hormone|neuron",
        # Verbs and endings of the ordered rows; they belong to no class.
        "did": """praised|thanked|criticised|sued|invited|defended|visited|advised|questioned|
            mocked|blamed|congratulated|welcomed|interviewed|accused|challenged|supported|
            ridiculed|admired|contacted|photographed|greeted|honoured|ignored|warned""",
        "doing": """meeting|visiting|thanking|interviewing|hosting|consulting|blaming|suing|
            greeting|advising|criticising|ignoring|inviting|defending|praising""",
        "circ": """in {city}|in {city} on {day}|in front of reporters in {city}|
            in a letter to {city}|at a dinner in {city}|over a house in {city}|
            in a book about {city}|at the station in {city}|over lunch on {day}|
            in a radio interview from {city}""",
        "went": """flew home to {city}|spoke to reporters in {city}|returned to {city} on {day}|
            promised to say more on {day}|left {city} in silence|took the train to {city}|
            signed the guest book in {city}|wrote a long letter from {city}""",
    }.items()
}

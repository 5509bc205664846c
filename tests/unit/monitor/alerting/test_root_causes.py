"""One root cause is one page: which parent explains silent series, and how long its page stands."""

from monitor.domain.instruments.parents import FALL_TOGETHER_S, Parent, find_roots

BASE, LOGGER = Parent("base", "B"), Parent("logger", "L")
ROVERS = frozenset((f"G{n}", "displacement") for n in range(20))
PAIR = frozenset({("G0", "displacement"), ("G1", "displacement")})
LONE = frozenset({("G5", "displacement")})
CHILDREN = {BASE: ROVERS, LOGGER: PAIR}


def roots(silent, late=(), paged=(), now_s=0.0, gone=()):
    silent_s = dict.fromkeys(silent, 0.0)
    return find_roots(CHILDREN, silent_s, lambda p: p in late, lambda p: p in gone, lambda *_: 3600.0, paged, now_s)


def test_the_parent_of_all_that_is_silent_is_the_cause_and_the_nearest_of_several():
    assert roots(ROVERS).pages == {BASE: ROVERS}
    assert roots(PAIR).pages == {LOGGER: PAIR}, "the other rovers of the base speak"
    assert roots(LONE) == roots(LONE, late=PAIR), "others of the base speak"
    assert (roots(LONE).pages, roots(LONE).waiting) == ({}, frozenset())


def test_the_first_waits_for_those_that_are_late_and_not_for_ever():
    late = ROVERS - LONE
    assert (roots(LONE, late).pages, roots(LONE, late).waiting) == ({}, LONE)
    assert roots(LONE, late, now_s=FALL_TOGETHER_S).pages == {BASE: LONE}


def test_nobody_waits_for_the_limit_of_those_that_have_missed_so_much_that_they_are_gone():
    late = ROVERS - LONE
    assert roots(LONE, late, gone=late).pages == {BASE: LONE}
    assert roots(LONE, late, gone=late - PAIR).waiting == LONE, "two of them may still come"


def test_a_page_stands_while_its_children_come_back_one_by_one():
    left = ROVERS - PAIR
    assert roots(left, paged={BASE.key}).pages == {BASE: left}
    assert roots(LONE, paged={BASE.key}).pages == {BASE: LONE}, "the last one has its time"
    assert roots(LONE, paged={BASE.key}, now_s=3600.0).pages == {}, "and then a page of its own"


def test_who_has_a_page_of_its_own_keeps_it():
    assert roots(ROVERS, paged={"health:G5.displacement:stale"}).pages == {BASE: ROVERS - LONE}

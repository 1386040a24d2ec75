import numpy as np
import pytest

from trainer.serving.index import Index, Passage, searchable, terms
from trainer.serving.sentences import WIDTH, Sentences

LIFE = {
    "dog": "We had a sheepdog called Bess, who was afraid of sheep.",
    "wedding": "Tobit and I married on the quay in a gale, in June.",
    "piano": "My first piano had forty dead keys and a mouse in the bass.",
    "ferry": "The ferry ran at six and at four, weather permitting.",
    "prize": "In 1987 the guild gave me the Linnaker medal for long service.",
}


def passage(entry_id: str, text: str) -> Passage:
    return Passage(entry_id=entry_id, revision=1, title="", text=text)


@pytest.fixture(scope="module")
def index(encoder: Sentences) -> Index:
    passages = [passage(name, text) for name, text in LIFE.items()]
    return Index(passages, encoder.embed([searchable(one) for one in passages]))


@pytest.mark.parametrize(
    ("question", "entry"),
    [
        ("What was your dog called?", "dog"),
        ("When did you get married?", "wedding"),
        ("Tell me about your first instrument.", "piano"),
        ("Who gave you the Linnaker?", "prize"),
    ],
)
def test_a_question_finds_the_passage_that_answers_it(
    index: Index, encoder: Sentences, question: str, entry: str
):
    hits = index.find(question, encoder.embed([question])[0])

    assert entry == hits[0].passage.entry_id


@pytest.mark.parametrize(
    "question",
    ["How do I sort a list in Python?", "Explain quantum entanglement.", "Thanks!", "", "?!"],
)
def test_a_question_about_something_else_finds_nothing(
    index: Index, encoder: Sentences, question: str
):
    assert index.find(question, encoder.embed([question])[0]) == []


def test_an_empty_life_finds_nothing(encoder: Sentences):
    index = Index([], np.empty((0, WIDTH), dtype=np.float32))

    assert index.find("Anything?", encoder.embed(["Anything?"])[0]) == []


def test_no_more_passages_are_found_than_asked_for(encoder: Sentences):
    passages = [passage(str(n), f"My dog Bess, story number {n}.") for n in range(20)]
    index = Index(passages, encoder.embed([one.text for one in passages]))

    assert len(index.find("your dog Bess", encoder.embed(["your dog Bess"])[0], 3)) == 3


def test_a_rare_word_wins_over_a_close_meaning(encoder: Sentences):
    passages = [passage("a", "I met Ottoline at the market."), passage("b", "I met my friend.")]
    index = Index(passages, encoder.embed([one.text for one in passages]))
    question = "Where did you meet Ottoline?"

    assert index.find(question, encoder.embed([question])[0])[0].passage.entry_id == "a"


def test_endings_and_common_words_do_not_count():
    assert terms("Where were the tuned pianos?") == terms("tuning a piano")


def test_embeddings_do_not_depend_on_their_batch(encoder: Sentences):
    texts = ["One.", "A much longer sentence, so that the short one is padded.", "Two."]

    together = encoder.embed(texts)
    alone = np.concatenate([encoder.embed([text]) for text in texts])

    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)

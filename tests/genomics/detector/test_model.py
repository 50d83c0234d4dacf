import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genomics.detector.cnn import MotifCNN
from genomics.detector.model import Look, MotifDetector, top_site
from genomics.detector.strands import both_strands, convolve, turned
from genomics.sequences import encode, one_hot, reverse_complement_one_hot
from tests.tolerance import rounding

from ..fakes import random_sequences

MODELS = {
    "attention": lambda: MotifDetector(features=8, filters=6, width=5, encoder_heads=2, head_dim=4, heads=3),
    "stem": lambda: MotifDetector(features=8, filters=6, width=5, depth=0, heads=2),
    "cnn": lambda: MotifCNN(features=8, filters=6, width=5, hidden=10),
}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]().double().eval()


def batch(lengths=(20, 13, 7, 1), seed=0):
    encoded = encode(
        [s[:n] for s, n in zip(random_sequences(len(lengths), 20, seed), lengths, strict=True)], mixed="pad"
    )
    return encoded.values.double(), encoded.lengths


def test_the_reverse_complement_has_the_same_logit(model):
    x, lengths = batch()
    other = reverse_complement_one_hot(x, lengths)
    assert torch.allclose(model(x, lengths), model(other, lengths), rtol=0, atol=1e-12)
    whole = x[:1]
    assert torch.allclose(model(whole), model(whole.flip((1, 2))), rtol=0, atol=1e-12)
    assert model(x, lengths).std() > 1e-3


def test_float32_keeps_the_symmetry_to_rounding(model):
    x = batch((20,) * 8)[0].float()
    model = model.float()
    # From a base to the logit lead about 250 operations: sums of 5 * 4, 6 and 8 numbers to the features, 8 twice, 20
    # and 8 in the encoder's attention, 8 and 16 in its MLP, 8, 40 twice and 3 * 8 in the heads, and functions between
    # them. The features are of a LayerNorm over 8 numbers: none is above sqrt 7.
    assert torch.allclose(model(x), model(x.flip((1, 2))), rtol=0, atol=rounding(250, 7**0.5))


def test_padding_is_exact_and_nan_in_it_stays_there(model):
    x, lengths = batch()
    alone = torch.cat([model(x[k : k + 1, :n]) for k, n in enumerate(lengths.tolist())])
    for k, n in enumerate(lengths.tolist()):
        x[k, n:] = torch.nan
    x.requires_grad_()
    together = model(x, lengths)
    assert torch.allclose(together, alone, rtol=0, atol=1e-12)
    together.sum().backward()
    for k, n in enumerate(lengths.tolist()):
        assert (x.grad[k, n:] == 0).all() and x.grad[k, :n].abs().sum() > 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_any_lengths(lengths, seed):
    torch.manual_seed(0)
    model = MODELS["attention"]().double().eval()
    sequences = [s[:n] for s, n in zip(random_sequences(len(lengths), 12, seed), lengths, strict=True)]
    x, n = encode(sequences, mixed="pad")
    expected = [model(one_hot(s)[None].double()).item() for s in sequences]
    assert torch.allclose(model(x.double(), n), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-10)


def heads_only(u, w, bias=0.5):
    """A detector whose features are the bases themselves: z_sl = x_sl, by hand."""
    model = MotifDetector(features=4, filters=4, width=1, depth=0, heads=len(u)).double().eval()
    model.encode = lambda x, lengths: (both_strands(x, lengths)[0].reshape(len(x), -1, 4), None)
    with torch.no_grad():
        model.queries.copy_(torch.tensor(u))
        model.values.copy_(torch.tensor(w))
        model.bias.fill_(bias)
    return model


def test_look_by_hand():
    # Head 0 sees A only: exp(2 u / sqrt 4) = e at A, 1 elsewhere. "AAC" and its reverse complement "GTT" have A, A and
    # none: the sum is 2 e + 4, each A has e / (2 e + 4). Its value is 3 at A and 1 at G.
    model = heads_only([[2.0, 0, 0, 0], [0.0, 0, 0, 0]], [[3.0, 0, 1, 0], [0, 0, 0, 6.0]])
    x = one_hot("AAC")[None].double()
    e = torch.e
    look = model.look(x)
    total = 2 * e + 4
    given = torch.tensor([e, e, 1]).double() / total
    turned_back = torch.tensor([1.0, 1, 1]).double() / total  # of T, T, G: the other strand at the given places
    assert torch.allclose(look.attention[0, :, 0], torch.stack([given, turned_back]))
    assert torch.allclose(look.attention[0, :, 1], torch.full((2, 3), 1 / 6).double())
    expected = torch.tensor([[6 * e / total, 0], [1 / total, 2.0]]).double()  # the flat head: 6 at each T, 2 of 6
    assert torch.allclose(look.contribution[0], expected)
    assert torch.allclose(look.logits, 0.5 + expected.sum()[None])
    assert torch.allclose(model(x), look.logits)


def test_look_turns_the_other_strand_to_given_positions():
    model = heads_only([[40.0, 0, 0, 0]], [[1.0, 0, 0, 0]])  # a head that attends to A alone
    encoded = encode(["CCTCCCC", "GGAGG"], mixed="pad")
    model.encode = lambda x, lengths: (both_strands(x, lengths)[0].reshape(len(x), -1, 4), _keep(x, lengths))
    look = model.look(encoded.values.double(), encoded.lengths)
    site = top_site(look)
    assert site.position.tolist() == [2, 2] and site.strand.tolist() == [1, 0] and site.head.tolist() == [0, 0]
    assert torch.allclose(site.weight, torch.ones(2).double(), atol=1e-6)
    assert (look.attention[1, :, :, 5:] == 0).all()


def _keep(x, lengths):
    return both_strands(x, lengths)[1].reshape(len(x), -1)


@pytest.mark.parametrize("name", ["attention", "stem"])
def test_contributions_add_up_and_turn_with_the_sequence(name):
    torch.manual_seed(1)
    model = MODELS[name]().double().eval()
    x, lengths = batch()
    look = model.look(x, lengths)
    assert torch.allclose(look.logits, model(x, lengths), rtol=0, atol=1e-12)
    assert torch.allclose(model.bias + look.contribution.sum((1, 2)), look.logits, rtol=0, atol=1e-12)
    assert torch.allclose(look.attention.sum((1, 3)), torch.ones(4, model.heads).double())
    other = model.look(reverse_complement_one_hot(x, lengths), lengths)
    assert torch.allclose(other.contribution, look.contribution.flip(1), rtol=0, atol=1e-12)
    back = turned(other.attention.flip(1), lengths)  # positions of the given strand run the other way
    assert torch.allclose(back, look.attention, rtol=0, atol=1e-12)
    for k, n in enumerate(lengths.tolist()):
        assert (look.attention[k, :, :, n:] == 0).all()


def test_top_site_by_hand():
    attention = torch.zeros(1, 2, 2, 3)
    attention[0, 1, 1] = torch.tensor([0.1, 0.2, 0.6])
    attention[0, 0, 0, 0] = 0.9
    look = Look(torch.zeros(1), attention, torch.tensor([[[0.3, -5.0], [0.2, 0.4]]]))
    site = top_site(look)
    assert (int(site.position), int(site.strand), int(site.head)) == (2, 1, 1)
    assert float(site.weight) == pytest.approx(0.6)


def test_a_position_far_away_changes_the_features_here():
    """The encoder reads the whole sequence; the stem alone reads its width."""
    x = batch((20,))[0]
    changed = x.clone()
    changed[0, -1] = changed[0, -1].roll(1)
    for name, whole in (("attention", True), ("stem", False)):
        torch.manual_seed(0)
        model = MODELS[name]().double().eval()
        a, b = model.encode(x)[0][0, 0], model.encode(changed)[0][0, 0]
        assert torch.allclose(a, b, rtol=0, atol=1e-12) != whole


@pytest.mark.parametrize(("channels", "width", "length"), [(4, 13, 20), (3, 5, 2), (2, 1, 7)])
def test_convolve_is_the_convolution(channels, width, length):
    torch.manual_seed(0)
    layer = torch.nn.Conv1d(channels, 6, width, padding=width // 2).double()
    x = torch.randn(3, length, channels).double()
    assert torch.allclose(convolve(x, layer), layer(x.mT).mT, rtol=0, atol=1e-12)


def test_gradients():
    torch.manual_seed(0)
    model = MotifDetector(features=4, filters=3, width=3, depth=1, head_dim=2, heads=2).double().eval()
    x, lengths = batch((5, 3))
    x = x[:, :5].clone().requires_grad_()

    def answers(values):
        look = model.look(values, lengths)
        return look.logits, look.attention, look.contribution

    assert torch.autograd.gradcheck(answers, (x,))


def test_the_sizes_are_alike_by_default():
    a, b = (sum(p.numel() for p in m.parameters()) for m in (MotifDetector(), MotifCNN()))
    assert abs(a - b) < 0.01 * a


def test_queries_do_not_decay():
    from core.training.optim import parameter_groups

    model = MODELS["attention"]()
    decayed, kept = parameter_groups(model, 0.1)
    assert any(p is model.queries for p in kept["params"]) and any(p is model.values for p in decayed["params"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MotifDetector(width=4), "width"),
        (lambda: MotifDetector(heads=0), "heads"),
        (lambda: MotifDetector(head_dim=3), "expected a multiple of 2"),
        (lambda: MotifCNN(block_width=2), "block_width"),
        (lambda: MotifDetector()(torch.zeros(2, 5, 3)), "x: expected"),
        (lambda: MotifDetector()(torch.zeros(2, 5, 4), torch.tensor([5])), "lengths"),
        (lambda: MotifDetector()(torch.zeros(2, 5, 4), torch.tensor([5, 6])), "lengths"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()

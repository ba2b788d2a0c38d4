import hashlib
import itertools

from sampan.store.identity import content_hash, digest_hashes, digest_lines, key_hash, keys_digest


def test_hashes_have_128_bits():
    assert key_hash("é") == hashlib.blake2b("é".encode(), digest_size=16).digest()
    # The beginning of the test vector in FIPS 180-4's examples.
    assert content_hash(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223"


def test_the_digest_of_keys_can_be_joined_from_their_hashes():
    assert keys_digest(["a", "b"]) == digest_hashes(key_hash("a") + key_hash("b"))
    assert keys_digest([]) == digest_hashes(b"")


def test_other_keys_or_another_order_give_another_digest():
    lists = [[], ["a"], ["b"], ["ab"], ["a", "b"], ["b", "a"], ["a", "b", ""], ["", "a", "b"]]

    for one, other in itertools.combinations(lists, 2):
        assert keys_digest(one) != keys_digest(other)
        assert digest_lines(one) != digest_lines(other)


def test_keys_that_are_no_text_have_a_hash_too():
    assert len(key_hash("\udcff")) == 16
    assert digest_lines(["\udcff"]) != digest_lines([""])

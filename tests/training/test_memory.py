"""A run may use half of the memory that is really there."""

from gpt2demo.training.memory import memory_for_a_run


def test_a_containers_limit_counts_and_the_lack_of_one_does_not(tmp_path):
    machine = memory_for_a_run(tmp_path / "missing")
    assert machine > 100_000_000
    limit = tmp_path / "memory.max"
    limit.write_text("max\n")
    assert memory_for_a_run(limit) == machine
    limit.write_text("200000000\n")
    assert memory_for_a_run(limit) == 100_000_000

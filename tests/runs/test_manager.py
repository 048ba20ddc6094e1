"""The queue, with workers that train nothing: order, wishes, losses, and a server that comes and goes."""

import os
import signal
import threading
import time

import pytest

from gpt2demo.errors import BusyError, ConfigError, LimitError, NotFoundError
from gpt2demo.runs import manager as manager_module
from gpt2demo.runs import workers as workers_module
from gpt2demo.runs.identity import new_owner
from gpt2demo.runs.manager import RunManager
from gpt2demo.runs.quotas import Quotas
from gpt2demo.runs.store import RunStore
from gpt2demo.runs.workers import NICENESS, Workers, reason, works_on
from gpt2demo.training.heartbeat import BEAT_SECONDS
from gpt2demo.training.lock import hold, is_held

FOREVER = 10_000


@pytest.fixture
def begin(help):
    """Makes a run and starts it. → owner, id"""

    def make(manager, owner=None, **changes):
        owner = owner or new_owner()
        return owner, manager.create_and_start(owner, new_owner(), help.plan(**changes))

    return make


@pytest.fixture
def wait(store, help):
    """Waits until a run is in a state, and is out of the queue if that state is one of rest."""

    def wait(id, state, **options):
        rests = state in ("done", "paused", "stopped", "failed")
        help.until(
            lambda: store.summary(id).state == state and (not rests or store.index.get(id).place is None),
            **options,
        )
        return store.summary(id)

    return wait


def lives(store, id):
    """How each worker of a run began."""
    return [text for _, text in store.folder(id).journal().events() if text.startswith("life")]


def pid_of(store, id):
    return int(lives(store, id)[-1].split()[1])


def test_a_run_goes_from_the_queue_to_its_end(make_manager, store, begin, wait):
    manager = make_manager()
    _, id = begin(manager)
    summary = wait(id, "done")
    assert (summary.step, summary.message, summary.position) == (20, "finished", None)
    assert len(lives(store, id)) == 1 and not is_held(store.folder(id).lock)
    assert manager._workers._processes == {}  # reaped


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="the system has no such thing")
def test_a_worker_lets_others_go_first(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER))
    owner, id = begin(manager)
    wait(id, "running")
    assert os.getpriority(os.PRIO_PROCESS, pid_of(store, id)) >= NICENESS
    manager.stop(owner, id)


def test_runs_train_one_after_the_other_in_order(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER))
    runs = [begin(manager) for _ in range(4)]
    wait(runs[0][1], "running")
    assert [store.summary(id).position for _, id in runs] == [None, 1, 2, 3]
    assert [store.view(id)["status"]["position"] for _, id in runs] == [None, 1, 2, 3]
    assert [store.summary(id).state for _, id in runs[1:]] == ["waiting"] * 3
    manager.stop(*runs[2])  # one that waits is stopped at once, and those behind it move up
    assert store.summary(runs[2][1]).state == "stopped"
    assert store.summary(runs[3][1]).position == 2
    manager.stop(*runs[0])
    wait(runs[1][1], "running")
    assert store.summary(runs[0][1]).state == "stopped" and store.summary(runs[3][1]).position == 1
    manager.stop(*runs[1])
    wait(runs[3][1], "running")
    manager.stop(*runs[3])
    wait(runs[3][1], "stopped")
    assert lives(store, runs[2][1]) == []


def test_as_many_train_at_a_time_as_there_are_slots(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER), slots=2)
    first, second, third = (begin(manager) for _ in range(3))
    wait(first[1], "running")
    wait(second[1], "running")
    assert store.summary(third[1]).position == 1
    manager.pause(*second)
    wait(third[1], "running")


def test_of_each_owner_one_trains_and_one_waits(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER), slots=2)
    owner, first = begin(manager)
    _, second = begin(manager, owner)
    wait(first, "running")
    assert store.summary(second).state == "waiting"  # though there is a free slot
    with pytest.raises(BusyError) as caught:
        begin(manager, owner)
    assert caught.value.got and caught.value.needed and caught.value.todo
    assert len(store.list(owner)) == 2  # the refused one left nothing behind
    _, other = begin(manager)
    wait(other, "running")  # it overtakes the second run of the first owner
    manager.stop(owner, first)
    wait(second, "running")


def test_only_so_many_wait_in_all(make_manager, store, begin, wait, help, monkeypatch):
    monkeypatch.setattr(manager_module, "MOST_WAITING", 2)
    manager = make_manager(command=help.stub(steps=FOREVER))
    for _ in range(3):
        begin(manager)
    with pytest.raises(BusyError, match="2 runs are waiting"):
        begin(manager)
    assert len(store.index.everything()) == 3


def test_two_start_clicks_are_one_run(make_manager, store, owner, wait, help):
    manager, plan = make_manager(), help.plan()
    ids, barrier = [], threading.Barrier(6)

    def click():
        barrier.wait()
        ids.append(manager.create_and_start(owner, "click-1", plan))

    threads = [threading.Thread(target=click) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 6 and len(set(ids)) == 1 == len(store.list(owner))
    wait(ids[0], "done")
    assert manager.create_and_start(owner, "click-1", plan) == ids[0]  # also a late one
    assert len(lives(store, ids[0])) == 1
    assert manager.create_and_start(new_owner(), "click-1", plan) != ids[0]
    assert manager.create_and_start(owner, "click-2", plan) != ids[0]
    for bad in ("", "x" * 65, "a b", None, 5):
        with pytest.raises(ConfigError):
            manager.create_and_start(owner, bad, plan)


def test_a_click_whose_run_could_not_be_made_may_be_repeated(store, make_manager, owner, help, monkeypatch):
    manager = make_manager()
    create = store.create
    monkeypatch.setattr(store, "create", lambda *_, **__: (_ for _ in ()).throw(LimitError("a", "b", "c")))
    with pytest.raises(LimitError):
        manager.create_and_start(owner, "click", help.plan())
    monkeypatch.setattr(store, "create", create)
    id = create(owner, help.plan(), nonce="click")
    store.folder(id).path.rename(store.root / ".unfinished" / id)  # the program ended while making it
    again = manager.create_and_start(owner, "click", help.plan())
    assert again != id and store.summary(again).state in ("starting", "running", "done")


def test_a_run_made_just_before_the_server_died_is_started_by_the_next_click(
    store, make_manager, owner, wait, help
):
    id = store.create(owner, help.plan(), nonce="click")
    assert make_manager().create_and_start(owner, "click", help.plan()) == id
    wait(id, "done")


def test_strangers_may_do_nothing(make_manager, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER))
    owner, id = begin(manager)
    for stranger in (new_owner(), "", None):
        for act in (manager.start, manager.pause, manager.resume, manager.stop):
            for target in (id, "a" * 16, "../../etc", None):
                with pytest.raises(NotFoundError, match="does not exist, or it is not yours"):
                    act(stranger, target)
    assert wait(id, "running").message == ""


def test_pause_and_resume(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=60))
    run = begin(manager)
    help.until(lambda: store.summary(run[1]).step > 5)
    for _ in range(2):
        manager.pause(*run)
    paused_at = wait(run[1], "paused").step
    manager.pause(*run)
    assert 5 < paused_at < 60
    for _ in range(2):
        manager.resume(*run)
    assert wait(run[1], "done").step == 60
    assert [life.split()[-1] for life in lives(store, run[1])] == ["0", str(paused_at)]
    with pytest.raises(ConfigError, match="finished"):
        manager.resume(*run)
    for act in (manager.pause, manager.stop):
        act(*run)  # nothing is left to be done, and nothing is done
    assert store.summary(run[1]).state == "done"


def test_a_run_resumed_while_its_worker_is_still_leaving_goes_on(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=80, linger=0.6))
    run = begin(manager)
    help.until(lambda: store.summary(run[1]).step > 5)
    manager.pause(*run)
    help.until(lambda: store.summary(run[1]).state == "paused")
    assert works_on(pid_of(store, run[1]), store.folder(run[1]).path)  # the hidden window
    manager.resume(*run)
    wait(run[1], "done", seconds=30)
    assert len(lives(store, run[1])) == 2


def test_a_run_resumed_before_its_worker_noticed_the_pause_goes_on(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=40))
    run = begin(manager)
    wait(run[1], "running")
    for _ in range(10):
        manager.pause(*run)
        manager.resume(*run)
    assert wait(run[1], "done").step == 40


def test_a_pause_is_not_lost_while_the_worker_begins(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER, slow_start=0.3))
    run = begin(manager)
    assert store.summary(run[1]).state == "starting" == store.view(run[1])["status"]["state"]
    manager.pause(*run)  # the worker will write "run" over it when it begins
    wait(run[1], "paused")
    manager.resume(*run)
    manager.stop(*run)
    wait(run[1], "stopped")


def test_pausing_and_stopping_runs_that_wait_or_rest(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER))
    first, second = begin(manager), begin(manager)
    manager.pause(*second)
    assert store.summary(second[1]).state == "paused" and store.summary(second[1]).position is None
    manager.stop(*second)
    assert store.summary(second[1]).state == "stopped"
    manager.resume(*second)
    assert store.summary(second[1]).position == 1
    manager.pause(*first)
    wait(second[1], "running")
    manager.stop(*first)
    assert wait(first[1], "stopped").message.startswith("Stopped. Everything up to step")
    store.folder(first[1]).journal().tell(state="running")  # as if it had been killed outside the queue
    assert store.summary(first[1]).state == "interrupted"
    manager.stop(*first)
    assert store.summary(first[1]).state == "stopped"


def test_a_pause_gives_the_place_to_the_next_and_resume_goes_to_the_end(
    make_manager, store, begin, wait, help
):
    manager = make_manager(command=help.stub(steps=FOREVER))
    first, second, third = (begin(manager) for _ in range(3))
    wait(first[1], "running")
    manager.pause(*first)
    wait(second[1], "running")
    manager.resume(*first)
    assert [store.summary(id).position for _, id in (third, first)] == [1, 2]


@pytest.fixture
def short_turns(tmp_path):
    return RunStore(tmp_path / "runs", quotas=Quotas(minutes_per_turn=0.4 / 60))


def test_who_has_had_a_turn_makes_way_while_others_wait(short_turns, help):
    store, owners = short_turns, [new_owner(), new_owner()]
    manager = RunManager(store, interval=0.03, command=help.stub(steps=FOREVER)).open()

    def started(id):
        return store.index.get(id).started and is_held(store.folder(id).lock)

    try:
        mine = [manager.create_and_start(owners[0], name, help.plan()) for name in "ab"]
        help.until(lambda: started(mine[0]) and store.summary(mine[0]).seconds > 1)
        assert len(lives(store, mine[0])) == 1  # nobody waits whose run could begin: the turn has no end
        other = manager.create_and_start(owners[1], "c", help.plan())
        help.until(lambda: started(other))
        assert lives(store, mine[1]) == []  # it has overtaken the second run of the same owner
        message = store.view(mine[0])["status"]["message"]
        assert store.summary(mine[0]).state == "waiting" and message.startswith("Others wait")
        help.until(lambda: started(mine[0]))  # and goes on by itself
        assert int(lives(store, mine[0])[1].split()[-1]) > 0
    finally:
        for owner, id in ((owners[0], mine[1]), (owners[0], mine[0]), (owners[1], other)):
            manager.stop(owner, id)
        help.until(lambda: not store.index.queue())
        manager.close()


def test_a_run_that_makes_way_can_still_be_paused_stopped_or_resumed(store, owner, help):
    manager = RunManager(store, command=help.stub())
    id = store.create(owner, help.plan())
    journal = store.folder(id).journal()
    for act, wanted in ((manager.pause, "pause"), (manager.stop, "stop"), (manager.resume, "run")):
        store.index.enqueue(id)
        store.index.claim(id)
        manager._want(store.index.get(id), journal, "yield")
        assert (store.index.get(id).wanted, journal.status().wanted) == ("yield", "pause")
        journal.tell(state="paused")
        assert store.summary(id).state == "waiting"
        act(owner, id)
        assert (store.index.get(id).wanted, journal.status().wanted) == (wanted, wanted)


def test_no_run_trains_for_ever(tmp_path, make_manager, help, owner):
    store = RunStore(tmp_path / "bounded", quotas=Quotas(minutes_per_run=0.3 / 60))
    manager = RunManager(store, interval=0.03, command=help.stub(steps=FOREVER)).open()
    try:
        with pytest.raises(LimitError, match="asks for 1 minutes"):
            manager.create_and_start(owner, "a", help.plan(steps=None, minutes=1.0))
        id = manager.create_and_start(owner, "b", help.plan())  # how long steps take, nobody knows beforehand
        help.until(lambda: store.summary(id).state == "stopped" and not store.index.queue())
        events = [text for _, text in store.folder(id).journal().events()]
        assert "It has trained for 0.005 minutes, as long as a run may here." in events
    finally:
        manager.close()


def test_a_killed_worker_is_replaced(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=60))
    _, id = begin(manager)
    help.until(lambda: store.summary(id).step >= 15)
    os.kill(pid_of(store, id), signal.SIGKILL)
    assert wait(id, "done").step == 60
    began = [int(life.split()[-1]) for life in lives(store, id)]
    assert len(began) == 2 and began[1] >= 10
    told = [text for _, text in store.folder(id).journal().events() if "unexpectedly" in text]
    assert len(told) == 1 and "(SIGKILL)" in told[0] and f"going on from step {began[1]}." in told[0]


def test_a_dead_worker_is_noticed_and_said_within_three_seconds(make_manager, store, begin, help):
    manager = make_manager(command=help.stub(steps=FOREVER, slow_start=1))
    manager.interval = RunManager(store).interval  # as often as on a server
    _, id = begin(manager)
    help.until(lambda: store.summary(id).step >= 5)
    os.kill(pid_of(store, id), signal.SIGKILL)
    killed = time.monotonic()
    help.until(lambda: "Interrupted at step" in store.view(id)["status"]["message"])
    assert time.monotonic() - killed < 3


@pytest.mark.parametrize("how", ["SIGSTOP", "a step that never ends"])
def test_a_hanging_worker_is_killed_said_and_replaced_once(make_manager, store, begin, wait, help, how):
    stuck = -1 if how == "SIGSTOP" else 15
    manager = make_manager(command=help.stub(steps=60, stuck=stuck, pace=0.02), silence_patience=0.8)
    _, id = begin(manager)
    help.until(lambda: store.summary(id).step >= 15)
    if how == "SIGSTOP":
        os.kill(pid_of(store, id), signal.SIGSTOP)
    assert wait(id, "done").step == 60
    assert len(lives(store, id)) == 2 and lives(store, id)[1].endswith(" 10")
    (told,) = [text for _, text in store.folder(id).journal().events() if "unexpectedly" in text]
    assert "no sign of life for 1 s and was ended). Interrupted at step" in told


def test_a_worker_that_hangs_again_without_having_got_further_fails(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER), silence_patience=0.8)
    _, id = begin(manager)
    wait(id, "running")
    for life in (1, 2):
        help.until(lambda life=life: len(lives(store, id)) == life)
        os.kill(pid_of(store, id), signal.SIGSTOP)
        store.folder(id).journal().tell(checkpoint_step=None)
    assert "ended unexpectedly again" in wait(id, "failed").message


def test_a_slow_but_living_worker_is_left_alone(make_manager, store, begin, help):
    manager = make_manager(command=help.stub(steps=FOREVER, pace=1.2), silence_patience=0.8)
    _, id = begin(manager)
    help.until(lambda: store.summary(id).step >= 2)  # each step is longer than the silence that is allowed
    assert len(lives(store, id)) == 1


def test_a_worker_that_never_begins_to_beat_is_ended_later(make_manager, store, begin, help, monkeypatch):
    monkeypatch.setattr(workers_module, "START_SECONDS", 0.5)
    manager = make_manager(command=help.stub(slow_start=1_000), silence_patience=0.1)
    _, id = begin(manager)
    help.until(lambda: "no sign of life" in "".join(t for _, t in store.folder(id).journal().events()))


def test_time_in_which_nobody_looked_is_no_silence(store, owner, help, monkeypatch):
    folder = store.folder(store.create(owner, help.plan()))
    folder.heartbeat.touch()
    workers = Workers(lambda _: [], stop_patience=1, kill_patience=1, silence_patience=10)
    killed, clock = [], iter([0.0, 3_600.0, 3_601.0, *(3_601.5 + i / 2 for i in range(60))])
    monkeypatch.setattr(workers, "_is_ours", lambda *_: True)
    monkeypatch.setattr(workers, "_signal", lambda *_: killed.append(True))
    monkeypatch.setattr(workers_module.time, "monotonic", lambda: next(clock))
    assert not any(workers.end_if_hanging(folder, 1) for _ in range(18))  # a lid was closed for an hour
    assert workers.end_if_hanging(folder, 1) and killed
    monkeypatch.setattr(workers_module.os, "access", lambda *_: False)  # a disk that cannot be written
    assert not any(workers.end_if_hanging(folder, 1) for _ in range(40))


def test_the_worker_of_somebody_else_is_not_ended(make_manager, store, owner, help):
    manager = make_manager(silence_patience=0.0)
    folder = store.folder(store.create(owner, help.plan()))
    with hold(folder.lock):  # stopped with Ctrl-Z in a terminal, say
        assert not any(manager._workers.end_if_hanging(folder, None) for _ in range(3))


def test_a_server_notices_a_hanging_worker_within_ten_seconds(store):
    assert RunManager(store)._workers.silence_patience + BEAT_SECONDS <= 11


def test_a_run_that_gets_no_further_fails(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(crash=5))
    run = begin(manager)
    message = wait(run[1], "failed").message
    assert len(lives(store, run[1])) == 2
    assert message.startswith(
        "The training process ended unexpectedly again, at step 5 (SIGKILL). Nothing was"
    )
    manager.stop(*run)
    assert store.summary(run[1]).state == "failed"
    manager.resume(*run)  # a person may try again, and again it is tried twice
    help.until(lambda: len(lives(store, run[1])) == 4)
    wait(run[1], "failed")


def test_a_run_that_gets_further_each_time_goes_on(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=50, crash=12))
    _, id = begin(manager)
    assert wait(id, "done").step == 50
    assert [life.split()[-1] for life in lives(store, id)] == ["0", "10", "20", "30", "40"]


def test_the_last_words_of_a_worker_are_told(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(crash=0))
    _, id = begin(manager)
    message = wait(id, "failed").message
    assert "(MemoryError: at …/file.py)" in message and "secret" not in message and "Traceback" not in message


def test_the_count_of_restarts_outlives_the_server(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER))
    _, id = begin(manager)
    wait(id, "running")
    manager.close()
    store.index.set(id, restarted_at=10**6)
    os.kill(pid_of(store, id), signal.SIGKILL)
    make_manager()
    wait(id, "failed")


def test_a_worker_that_cannot_be_started_is_a_failed_run(make_manager, begin, wait):
    manager = make_manager(command=lambda folder: ["/no/such/python", str(folder)])
    _, id = begin(manager)
    assert "could not be started (No such file or directory)" in wait(id, "failed").message


def test_a_new_server_finds_its_workers_and_its_queue(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER))
    first, second, third = (begin(manager) for _ in range(3))
    wait(first[1], "running")
    manager.close()
    pid = pid_of(store, first[1])
    assert works_on(pid, store.folder(first[1]).path)  # it was not taken along
    again = make_manager(command=help.stub(steps=30))
    for _ in range(5):
        again.tick()
    assert [store.summary(id).position for _, id in (first, second, third)] == [None, 1, 2]
    assert len(lives(store, first[1])) == 1
    again.pause(*first)
    wait(first[1], "paused")
    assert wait(second[1], "done").step == 30
    wait(third[1], "done")
    again.stop(*first)
    assert store.summary(first[1]).state == "stopped"


def test_a_new_server_replaces_a_worker_that_died_while_there_was_none(
    make_manager, store, begin, wait, help
):
    manager = make_manager(command=help.stub(steps=60))
    _, id = begin(manager)
    help.until(lambda: store.summary(id).step >= 12)
    manager.close()
    os.kill(pid_of(store, id), signal.SIGKILL)
    help.until(lambda: not is_held(store.folder(id).lock))
    RunStore(store.root)
    make_manager(command=help.stub(steps=60))
    assert wait(id, "done").step == 60
    assert len(lives(store, id)) == 2


def test_a_run_trained_by_the_command_line_is_not_trained_twice(make_manager, store, owner, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER))
    id = store.create(owner, help.plan())
    folder = store.folder(id)
    with hold(folder.lock):
        folder.journal().tell(state="running")
        manager.start(owner, id)
        for _ in range(3):
            manager.tick()
        assert store.summary(id).state == "running" and lives(store, id) == []
        manager.pause(owner, id)
        assert folder.journal().status().wanted == "pause"
        folder.journal().tell(state="paused")
    wait(id, "paused")


def test_a_worker_that_does_not_listen_is_told_to_leave(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER, ignore=1), stop_patience=0.3, kill_patience=30)
    run = begin(manager)
    wait(run[1], "running")
    help.until(lambda: store.summary(run[1]).step >= 10)
    manager.stop(*run)
    wait(run[1], "stopped")
    events = [text for _, text in store.folder(run[1]).journal().events()]
    assert any("told to leave" in text for text in events) and not any("killed" in text for text in events)
    assert len(lives(store, run[1])) == 1


def test_one_that_does_not_leave_either_is_killed(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER, ignore=2), stop_patience=0.2, kill_patience=0.3)
    run = begin(manager)
    wait(run[1], "running")
    manager.stop(*run)
    wait(run[1], "stopped")
    assert "The worker did not leave, and was killed." in [
        t for _, t in store.folder(run[1]).journal().events()
    ]


def test_a_worker_of_an_earlier_server_is_killed_too(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER, ignore=2))
    run = begin(manager)
    wait(run[1], "running")
    manager.close()
    again = make_manager(stop_patience=0.2, kill_patience=0.3)
    again.stop(*run)
    wait(run[1], "stopped")


def test_a_healthy_worker_is_left_in_peace(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER), stop_patience=0.05, kill_patience=0.05)
    run = begin(manager)
    help.until(lambda: store.summary(run[1]).step > 30)
    assert wait(run[1], "running").step > 30 and len(lives(store, run[1])) == 1
    manager.stop(*run)
    wait(run[1], "stopped")
    assert not any("worker did not" in text for _, text in store.folder(run[1]).journal().events())


def test_a_broken_run_does_not_hold_up_the_queue(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER))
    first, second, third = begin(manager), begin(manager), begin(manager)
    wait(first[1], "running")
    (store.folder(second[1]).path / "run.sqlite").write_bytes(b"rubbish" * 1000)
    (store.folder(second[1]).path / "run.sqlite-wal").unlink(missing_ok=True)
    manager.stop(*first)
    wait(third[1], "running", seconds=30)


def test_a_deleted_run_leaves_the_queue(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER))
    first, second, third = begin(manager), begin(manager), begin(manager)
    wait(first[1], "running")
    with pytest.raises(BusyError):
        store.delete(*first)
    store.delete(*second)
    manager.stop(*first)
    wait(third[1], "running")
    store.delete(*first)


def test_the_queue_goes_on_after_a_fault(make_manager, begin, wait, help, monkeypatch, caplog):
    manager = make_manager()
    faults = iter([RuntimeError("a bug")])
    tick = manager.tick

    def faulty():
        for fault in faults:
            raise fault
        tick()

    monkeypatch.setattr(manager, "tick", faulty)
    _, id = begin(manager)
    wait(id, "done")
    assert "a bug" in caplog.text


def test_the_thread_ends_when_the_manager_is_closed(store):
    before = threading.active_count()
    manager = RunManager(store).open()
    assert manager.open() is manager and threading.active_count() == before + 1
    began = time.monotonic()
    manager.close()
    manager.close()
    assert threading.active_count() == before and time.monotonic() - began < 5


def test_a_run_that_diverged_goes_on_slower_when_its_owner_wants(make_manager, store, begin, wait, help):
    manager = make_manager(command=help.stub(steps=FOREVER))
    owner, other = begin(manager)
    wait(other, "running")
    id = store.create(owner, help.plan())
    journal = store.folder(id).journal()
    with pytest.raises(ConfigError, match="did not diverge"):
        manager.resume_slower(owner, id)
    journal.tell(state="failed", diverged_at=7, message="At step 7 the loss became nan.")
    with pytest.raises(NotFoundError):
        manager.resume_slower(new_owner(), id)
    assert store.view(id)["status"]["diverged_at"] == 7 and journal.status().slower == ()
    manager.resume_slower(owner, id)
    status = store.view(id)["status"]
    assert (status["slower"], status["diverged_at"], status["position"]) == ([0], None, 1)
    with pytest.raises(BusyError, match="in the queue"):
        manager.resume_slower(owner, id)
    manager.stop(owner, other)
    wait(id, "running")


def test_a_worker_that_was_killed_for_want_of_memory_is_not_tried_again(
    make_manager, store, begin, wait, help, monkeypatch
):
    killed = iter([4, 5])  # when it began, and when it had ended
    monkeypatch.setattr(workers_module, "oom_kills", lambda: next(killed))
    manager = make_manager(command=help.stub(steps=FOREVER, crash=15))
    _, id = begin(manager)
    summary = wait(id, "failed")
    assert len(lives(store, id)) == 1
    assert "memory ran out" in summary.message and "needs about" in summary.message
    assert "with batches of 2." in summary.message and "step 10 is saved" in summary.message
    assert [text for _, text in store.folder(id).journal().events()][-1] == summary.message


def test_a_worker_that_was_killed_by_somebody_is_tried_again(
    make_manager, store, begin, wait, help, monkeypatch
):
    for count in (lambda: 4, lambda: None):  # nobody was killed for want of memory, or nobody counts
        monkeypatch.setattr(workers_module, "oom_kills", count)
        manager = make_manager(command=help.stub(steps=20, crash=15))
        _, id = begin(manager)
        wait(id, "done")
        assert len(lives(store, id)) == 2
        manager.close()


def test_a_number_that_another_process_got_is_not_our_worker(store, owner, help):
    id = store.create(owner, help.plan())
    assert not works_on(os.getpid(), store.folder(id).path)
    assert not works_on(None, store.root) and not works_on(2**22 + 1, store.root)


def test_why_a_worker_ended(tmp_path):
    log = tmp_path / "worker.log"
    assert reason(None, log) == reason(0, log) == ""
    assert reason(-9, log) == " (SIGKILL)" and reason(-250, log) == " (signal 250)"
    assert reason(3, log) == " (exit status 3)"
    log.write_text("x" * 100_000 + "\nRuntimeError: " + "y" * 500 + "\n\n")
    assert reason(1, log) == f" (RuntimeError: {'y' * 146})"

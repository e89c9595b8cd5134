import planner as pl
from planner.export.huggingface import layer_runs
from planner.export.orders import Order
from planner.export.versions import release_of
from planner.launches.launching import job_of, launch_of
from tests.exported import cut_plan, golden_texts, result_of

GRAPH = pl.load_model("llama-3.1-8b")
MACHINE = pl.load_topology("hgx-h100", software="accelerate")


def test_the_program_places_every_layer_once():
    text = golden_texts("huggingface")["huggingface-stages-serve.py"]
    lines = text[text.index("RUNS") : text.index("\nmodel = ")]
    space: dict[str, object] = {"LOADING": {}}
    exec(lines, space)
    places = space["LOADING"]["device_map"]
    cards = [places[f"model.layers.{layer}"] for layer in range(80)]
    assert [cards.count(card) for card in range(4)] == [21, 20, 20, 19]
    assert cards == sorted(cards)
    assert (places["model.embed_tokens"], places["lm_head"]) == (0, 3)


def test_layers_on_the_host_are_runs_of_their_own():
    plan = cut_plan(GRAPH, MACHINE, (20, 12))
    first = plan.stages[0]
    away = first.replace(offloaded=first.layers[1:4])
    plan = plan.replace(stages=(away, plan.stages[1]))
    job, _ = job_of(result_of(GRAPH, MACHINE, plan, pl.Workload(batch_size=8)), "huggingface")
    release = release_of("huggingface", None).release
    order = Order(job, launch_of(job, "huggingface", model="m"), release)
    assert layer_runs(order) == [("cpu", 0, 3), (0, 3, 20), (1, 20, 32)]

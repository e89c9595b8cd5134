"""More clients than a plan holds: as many as it holds are in flight, the others wait in a queue.

Engines do so: of the requests that they are sent they take as many as their memory has room for, and
as their own limit allows. What those who wait pay is `Workload.cycles_waited` cycles each.
"""

from planner.pricing.deployment import Deployment
from planner.pricing.served import Served


def seated(deployment: Deployment) -> Deployment:
    """The same plan with as many sequences in flight as it holds, the others queued.

    Itself where all fit, where the workload gives no number, and where a replica does not hold even
    one. Samples of a diffusion model are one batch and do not wait.
    """
    served = deployment.served
    workload = served.workload
    if workload.batch_size is None or served.graph.is_diffusion or _holds_all(deployment):
        return deployment
    most = deployment.most_sequences * deployment.plan.replicas
    if not most:
        return deployment
    fewer = Served(served.graph, served.topology, workload.seated(most))
    return Deployment(deployment.plan, [fewer] * len(deployment.each))


def _holds_all(deployment: Deployment) -> bool:
    """Whether every stage holds its share of the sequences, and every rank takes it."""
    workload = deployment.served.workload
    assert workload.batch_size is not None
    at = deployment.schedule(workload.batch_size)
    if at.sequences > deployment.most_taken:
        return False
    return all(ledger.headroom_bytes >= 0 for ledger in deployment.ledgers(at))

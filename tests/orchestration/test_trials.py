"""To try an agent is a run."""

from orchestration import trials


def test_a_worker_makes_the_call_with_the_runs_input_as_it_is(engine, finished, members, agents):
    given = {"value": [1, 2.5, {"deep": None}]}
    run = trials.start_trial(agent=agents["echo"].agent, given=given, by=members.operator, key="")
    assert finished(run).output == given


def test_an_agent_that_starts_runs_starts_one(engine, finished, members, save, save_agent):
    save("name: small\ninput: {type: object}\nsteps:\n  s: {agent: echo, with: {value: 1}}\noutput: {n: 1}\n")
    agent = save_agent(name="boss", kind="orchestrator", configuration={"definitions": ["small"]}).agent
    agent.refresh_from_db()
    run = trials.start_trial(agent=agent, given={"definition": "small", "input": {}}, by=members.operator, key="")
    assert finished(run).output == {"n": 1}

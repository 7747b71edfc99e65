"""A loop written by hand, and nothing around it: settles what it had and claims 500 more, in one statement."""

import sys

import psycopg

TURN = """
WITH ended AS (DELETE FROM bare.live WHERE id = ANY (%s::bigint[]) RETURNING *),
     moved AS (INSERT INTO bare.history SELECT e.*, now() FROM ended e)
UPDATE bare.live SET status = 'running', attempt = attempt + 1, started_at = now()
 WHERE id = ANY (ARRAY(SELECT id FROM bare.live WHERE status = 'pending' ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED))
RETURNING id, payload"""


def main(url):
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
        connection.execute("SET enable_seqscan = off")
        connection.execute("SET plan_cache_mode = force_generic_plan")
        print("ready", flush=True)
        sys.stdin.readline()
        ended = None
        while ended is None or ended:
            ended = [job_id for job_id, _payload in connection.execute(TURN, [ended or []])]


main(sys.argv[1])

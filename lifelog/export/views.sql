-- Views for DuckDB over a folder that `lifelog events export --parquet FOLDER` wrote.
--
--   SET VARIABLE export = 'FOLDER';
--   .read FOLDER/views.sql
--   FROM gpu_hours_by_person;
--
-- A payload is JSON text: payload->>'$.field'. Numbers of money are in the currency of the pools'
-- prices. Persons are ids; no view holds a text of theirs.

CREATE OR REPLACE VIEW log AS
SELECT * FROM read_parquet(
    getvariable('export') || '/topic=*/day=*/*.parquet', hive_partitioning = true, union_by_name = true
);

-- The queue's events. A job's stand on one partition, in order of "offset".
CREATE OR REPLACE VIEW job_events AS
SELECT * FROM log WHERE topic = 'jobs.events' AND payload IS NOT NULL;

-- One row a job, as it was submitted and as it ended.
CREATE OR REPLACE VIEW jobs AS
SELECT
    job_id,
    any_value(person_id) FILTER (type = 'lifelog.job.submitted') AS person_id,
    any_value(payload->>'$.pool') FILTER (type = 'lifelog.job.submitted') AS pool,
    any_value(payload->>'$.priority') FILTER (type = 'lifelog.job.submitted') AS submitted_as,
    min(time) FILTER (type = 'lifelog.job.submitted') AS submitted_at,
    -- Whoever had to wait for a time or another job stood in line only after that.
    max(time) FILTER (type = 'lifelog.job.readied') AS readied_at,
    min(time) FILTER (type = 'lifelog.lease.granted') AS first_leased_at,
    arg_max(type, "offset") FILTER (type IN (
        'lifelog.job.succeeded', 'lifelog.job.failed', 'lifelog.job.cancelled', 'lifelog.job.expired'
    )) AS ended_as,
    any_value(version_id) FILTER (type = 'lifelog.job.succeeded') AS version_id
FROM job_events
WHERE job_id IS NOT NULL
GROUP BY job_id
HAVING count(*) FILTER (type = 'lifelog.job.submitted') > 0;

-- One row an attempt that is over: how it ended, and what it took.
CREATE OR REPLACE VIEW attempts AS
SELECT
    job_id,
    attempt,
    fencing_token,
    person_id,
    worker_id,
    time AS ended_at,
    CASE type WHEN 'lifelog.job.succeeded' THEN 'succeeded' ELSE payload->>'$.outcome' END AS outcome,
    payload->>'$.cause' AS cause,
    payload->>'$.code' AS code,
    coalesce(CAST(payload->>'$.costs_attempt' AS BOOLEAN), false) AS counted,
    coalesce(CAST(payload->>'$.gpu_seconds' AS DOUBLE), 0) AS gpu_seconds,
    coalesce(CAST(payload->>'$.cost' AS DOUBLE), 0) AS cost,
    CAST(payload->>'$.energy_wh' AS DOUBLE) AS energy_wh
FROM job_events
WHERE type IN ('lifelog.attempt.ended', 'lifelog.job.succeeded');

-- One row a version, with the job that it came of.
CREATE OR REPLACE VIEW versions AS
SELECT
    version_id,
    person_id,
    CAST(payload->>'$.number' AS INTEGER) AS number,
    payload->>'$.job_id' AS job_id,
    time AS registered_at,
    CAST(payload->'$.scores' AS MAP(VARCHAR, DOUBLE)) AS scores
FROM log
WHERE topic = 'models.events' AND type = 'lifelog.version.registered';

-- 1. How many GPU-hours each person used, those of attempts that failed included.
CREATE OR REPLACE VIEW gpu_hours_by_person AS
SELECT
    person_id,
    sum(gpu_seconds) / 3600 AS gpu_hours,
    sum(gpu_seconds) FILTER (outcome <> 'succeeded') / 3600 AS of_them_without_a_version,
    sum(cost) AS cost,
    count(*) AS attempts
FROM attempts
GROUP BY person_id
ORDER BY gpu_hours DESC, person_id;

-- 2. How long jobs of each class stood in line before their first lease, in seconds. The class is
-- that which the job had then; one that was never leased is not counted.
CREATE OR REPLACE VIEW wait_by_class AS
WITH moved AS (
    SELECT j.job_id, arg_max(e.payload->>'$.priority', e."offset") AS priority
    FROM jobs j JOIN job_events e USING (job_id)
    WHERE e.type = 'lifelog.job.reprioritised' AND e.time <= j.first_leased_at
    GROUP BY j.job_id
), waits AS (
    SELECT
        coalesce(m.priority, j.submitted_as) AS class,
        epoch(j.first_leased_at)
            - epoch(CASE WHEN j.readied_at <= j.first_leased_at THEN j.readied_at ELSE j.submitted_at END)
            AS waited_s
    FROM jobs j LEFT JOIN moved m USING (job_id)
    WHERE j.first_leased_at IS NOT NULL
)
SELECT
    class,
    count(*) AS jobs,
    quantile_cont(waited_s, 0.5) AS median_s,
    quantile_cont(waited_s, 0.95) AS p95_s,
    max(waited_s) AS longest_s
FROM waits
GROUP BY class
ORDER BY CASE class WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END;

-- 3. What each version cost: all attempts of its job, those that failed included.
CREATE OR REPLACE VIEW cost_per_version AS
SELECT
    j.version_id,
    j.person_id,
    v.number,
    count(*) AS attempts,
    sum(a.gpu_seconds) / 3600 AS gpu_hours,
    sum(a.cost) AS cost
FROM jobs j
JOIN attempts a USING (job_id)
LEFT JOIN versions v ON v.version_id = j.version_id
WHERE j.version_id IS NOT NULL
GROUP BY j.version_id, j.person_id, v.number
ORDER BY j.person_id, v.number;

-- 4. Why attempts ended without a version, and what they took. `tried_again`: another followed.
CREATE OR REPLACE VIEW retry_causes AS
WITH followed AS (
    SELECT job_id, max(fencing_token) AS last_token
    FROM job_events WHERE type = 'lifelog.lease.granted' GROUP BY job_id
)
SELECT
    a.outcome,
    coalesce(a.cause, '') AS cause,
    coalesce(a.code, '') AS code,
    count(*) AS attempts,
    count(*) FILTER (a.fencing_token < f.last_token) AS tried_again,
    count(*) FILTER (a.counted) AS counted,
    sum(a.gpu_seconds) / 3600 AS gpu_hours,
    sum(a.cost) AS cost
FROM attempts a JOIN followed f USING (job_id)
WHERE a.outcome <> 'succeeded'
GROUP BY ALL
ORDER BY attempts DESC, outcome, cause, code;

-- 5. Each score of each version, beside that of the person's version before it.
CREATE OR REPLACE VIEW quality_over_versions AS
WITH told AS (
    SELECT version_id, unnest(map_entries(scores)) AS score, registered_at AS told_at FROM versions
    UNION ALL
    SELECT
        version_id,
        unnest(map_entries(CAST(payload->'$.scores' AS MAP(VARCHAR, DOUBLE)))) AS score,
        time AS told_at
    FROM log
    WHERE topic = 'validations.events' AND type = 'lifelog.scores.recorded'
), newest AS (
    SELECT version_id, score.key AS name, arg_max(score.value, told_at) AS value
    FROM told GROUP BY version_id, score.key
)
SELECT
    v.person_id,
    n.name,
    v.number,
    v.version_id,
    n.value,
    n.value - lag(n.value) OVER (PARTITION BY v.person_id, n.name ORDER BY v.number) AS change
FROM newest n JOIN versions v USING (version_id)
ORDER BY v.person_id, n.name, v.number;

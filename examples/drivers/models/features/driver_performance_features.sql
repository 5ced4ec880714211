{{
config(
materialized='incremental',
file_format='iceberg',
incremental_strategy='merge',
unique_key=['driver_id', 'feature_date'],
partition_by={'field': 'feature_date', 'data_type': 'date'}
)
}}

-- Compute driver performance features for ML models
SELECT
driver_id,
CAST('{{ run_started_at }}'[:10] AS DATE) AS feature_date,

-- Trip volume features
COUNT(DISTINCT trip_id) AS total_trips_30d,
COUNT(DISTINCT trip_id) FILTER (WHERE status = 'completed') AS completed_trips_30d,
COUNT(DISTINCT trip_id) FILTER (WHERE status = 'cancelled') AS cancelled_trips_30d,
ROUND(
COUNT(DISTINCT trip_id) FILTER (WHERE status = 'cancelled') * 1.0 /
NULLIF(COUNT(DISTINCT trip_id), 0),
4
) AS cancellation_rate_30d,

-- Revenue features
ROUND(SUM(fare) FILTER (WHERE status = 'completed'), 2) AS total_revenue_30d,
ROUND(AVG(fare) FILTER (WHERE status = 'completed'), 2) AS avg_fare_30d,

-- Quality features
ROUND(AVG(rating) FILTER (WHERE rating IS NOT NULL), 3) AS avg_rating_30d,
COUNT(*) FILTER (WHERE rating <= 2.0) AS low_rating_count_30d,
COUNT(*) FILTER (WHERE rating >= 4.8) AS high_rating_count_30d,

-- Recency features
MAX(trip_date) AS last_trip_date,
DATEDIFF(CAST('{{ run_started_at }}'[:10] AS DATE), MAX(trip_date)) AS days_since_last_trip

FROM {{ ref('trips_enriched') }} -- upstream dbt model on top of raw Iceberg table
WHERE trip_date >= DATEADD(day, -30, CAST('{{ run_started_at }}'[:10] AS DATE))

{% if is_incremental() %}
-- Only process new trips since last dbt run
AND trip_date > (SELECT MAX(feature_date) FROM {{ this }})
{% endif %}

GROUP BY driver_id

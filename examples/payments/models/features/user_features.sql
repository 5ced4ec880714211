{{ config(materialized='incremental', unique_key='user_token', partition_by='feature_date', tags=['ml']) }}
select user_token, CAST('{{ run_started_at }}'[:10] AS DATE) as feature_date, count(*) as payments
from {{ ref('stg_payments') }}
group by user_token

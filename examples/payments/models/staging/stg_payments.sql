select txn_id, user_token, amount, status, event_timestamp
from {{ source('events', 'payments') }}
where status <> 'test'

-- Trips with what is known of them: one row a trip.
select
    trip_id,
    driver_id,
    status,
    fare,
    rating,
    trip_date
from {{ ref('raw_trips') }}

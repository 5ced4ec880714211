{% test between(model, column_name, least, most) %}
select *
from {{ model }}
where not ({{ column_name }} between {{ least }} and {{ most }})
{% endtest %}

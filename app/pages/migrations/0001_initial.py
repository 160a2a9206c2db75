"""The readings table with its rows: the same ones on every machine, so that /db/ costs the same."""

import math
from decimal import Decimal

from django.db import migrations, models

SENSORS = 10
READINGS = 240  # one every six minutes


def seed(apps, schema_editor) -> None:
    """A day of smooth, made-up temperatures for each sensor."""
    Reading = apps.get_model("pages", "Reading")
    Reading.objects.bulk_create(
        Reading(
            sensor=f"sensor {sensor:02}",
            minute=reading * 6,
            celsius=Decimal(f"{15 + sensor / 2 - 6 * math.cos(2 * math.pi * reading / READINGS):.1f}"),
        )
        for sensor in range(1, SENSORS + 1)
        for reading in range(READINGS)
    )


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Reading",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sensor", models.CharField(db_index=True, max_length=32)),
                ("minute", models.PositiveIntegerField(help_text="minutes since midnight")),
                ("celsius", models.DecimalField(decimal_places=1, max_digits=4)),
            ],
            options={"ordering": ["sensor", "minute"]},
        ),
        migrations.AddConstraint(
            model_name="reading",
            constraint=models.UniqueConstraint(fields=("sensor", "minute"), name="one_reading_a_minute"),
        ),
        migrations.RunPython(seed, migrations.RunPython.noop),
    ]

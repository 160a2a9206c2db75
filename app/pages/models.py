"""The tables that /db/ reads and /visit/ writes."""

from django.db import models


class Reading(models.Model):
    """One reading of one sensor. The first migration writes `SENSORS` × `READINGS` of them."""

    sensor = models.CharField(max_length=32, db_index=True)
    minute = models.PositiveIntegerField(help_text="minutes since midnight")
    celsius = models.DecimalField(max_digits=4, decimal_places=1)

    class Meta:
        ordering = ["sensor", "minute"]
        constraints = [models.UniqueConstraint(fields=["sensor", "minute"], name="one_reading_a_minute")]

    def __str__(self) -> str:
        return f"{self.sensor} {self.minute // 60:02}:{self.minute % 60:02} {self.celsius} °C"


class Visit(models.Model):
    """That somebody asked for /visit/, and when."""

    KEPT = 100_000  # the latest, about

    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"visit {self.pk} at {self.at:%H:%M:%S}"

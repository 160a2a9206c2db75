"""For nbgrader, said in this folder: `python -m course.grading` makes the assignment."""

c = get_config()  # noqa: F821  nbgrader's own

c.CourseDirectory.course_id = "stacklab"
c.ClearSolutions.code_stub = {"python": "# Write your numbers into the line above, or compute them here."}
c.ExecutePreprocessor.timeout = 300

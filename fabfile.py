"""The tasks of the lab for the `fab` command: `fab --list` names them, `fab --help TASK` explains one."""

from stacklab.commandline import namespace, refuse_mistakes

ns = namespace()
refuse_mistakes()

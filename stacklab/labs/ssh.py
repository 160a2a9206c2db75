class SshLab: pass

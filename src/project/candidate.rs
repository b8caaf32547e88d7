//! Who is judged when nobody is named.

use super::error::ProjectError;
use super::open::Project;

impl Project {
    /// The subject that is judged: the one named, else the configured one, else the newest
    /// checkpoint of the latest run that trained.
    ///
    /// # Errors
    /// There is none of them, or the records cannot be read.
    pub fn candidate(&self, named: Option<&str>) -> Result<String, ProjectError> {
        if let Some(named) = named {
            return Ok(named.to_owned());
        }
        if let Some(configured) = self.configured_candidate() {
            return Ok(configured);
        }
        for run in self.store.list()?.into_iter().rev() {
            if let Some(newest) = run.checkpoints()?.last() {
                return Ok(format!("{}/ckpt-{}", run.id(), newest.step));
            }
        }
        Err(ProjectError::NoCandidate)
    }

    /// A folder is meant from where the configuration lies.
    fn configured_candidate(&self) -> Option<String> {
        let name = self.config.gate.candidate.as_ref()?;
        let (folder, scale) = name.split_once('@').unwrap_or((name, ""));
        let path = self.config.resolve(folder);
        Some(match (path.is_dir(), scale) {
            (true, "") => path.display().to_string(),
            (true, scale) => format!("{}@{scale}", path.display()),
            (false, _) => name.clone(),
        })
    }
}

//! A row-major matrix of F32: what layers take and return.

/// Rows are tokens, columns are features.
#[derive(Debug, Clone, PartialEq)]
pub struct Mat {
    /// The numbers, row after row.
    pub data: Vec<f32>,
    /// Features of a row.
    pub cols: usize,
}

impl Mat {
    /// A matrix of zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Mat {
            data: vec![0.0; rows * cols],
            cols,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.data.len() / self.cols
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// One row, to write.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// The rows named, in that order.
    pub fn gather(&self, rows: &[usize]) -> Mat {
        let mut data = Vec::with_capacity(rows.len() * self.cols);
        for &row in rows {
            data.extend_from_slice(self.row(row));
        }
        Mat {
            data,
            cols: self.cols,
        }
    }
}
